#include "core/events/event.h"

#include <array>
#include <utility>

#include "core/base/memory.h"

namespace pmemd {
namespace {

constexpr std::array kAllKinds = {
    EventKind::kPreRemove, EventKind::kRemoved, EventKind::kEnabled,       EventKind::kCreated,
    EventKind::kDestroyed, EventKind::kPoison,  EventKind::kCleared,       EventKind::kScrub,
    EventKind::kShutdown,  EventKind::kNoSpace, EventKind::kWritebackError};

}  // namespace

std::string_view to_string(EventKind kind) {
  switch (kind) {
    case EventKind::kPreRemove:
      return "pre-remove";
    case EventKind::kRemoved:
      return "removed";
    case EventKind::kEnabled:
      return "enabled";
    case EventKind::kCreated:
      return "created";
    case EventKind::kDestroyed:
      return "destroyed";
    case EventKind::kPoison:
      return "poison";
    case EventKind::kCleared:
      return "cleared";
    case EventKind::kScrub:
      return "scrub";
    case EventKind::kShutdown:
      return "shutdown";
    case EventKind::kNoSpace:
      return "no-space";
    case EventKind::kWritebackError:
      return "writeback-error";
  }
  return "unknown";
}

std::optional<EventKind> parse_event_kind(std::string_view text) {
  for (const EventKind kind : kAllKinds) {
    if (to_string(kind) == text) return kind;
  }
  return std::nullopt;
}

std::string all_event_kinds() {
  std::string all;
  for (const EventKind kind : kAllKinds) {
    if (!all.empty()) all += ", ";
    all += to_string(kind);
  }
  return all;
}

void EventBus::number_from(uint64_t seq) {
  MutexLock lock(mutex_);
  first_seq_ = next_seq_ = seq;
}

uint64_t EventBus::publish(EventKind kind, std::string name_of_namespace, DataRange range,
                           std::optional<EventFile> file) {
  const MustAllocate it_has_happened;
  uint64_t seq = 0;
  {
    MutexLock lock(mutex_);
    seq = next_seq_++;
    queue_.push_back({seq, std::chrono::system_clock::now(), kind, std::move(name_of_namespace),
                      range, std::move(file)});
  }
  while (true) {
    Event event;
    {
      MutexLock lock(mutex_);
      if (delivering_ || queue_.empty()) return seq;  // another thread delivers, or has
      delivering_ = true;
      event = std::move(queue_.front());
      queue_.pop_front();
    }
    if (sink_) sink_(event);
    MutexLock lock(mutex_);
    delivering_ = false;
  }
}

uint64_t EventBus::published() const {
  MutexLock lock(mutex_);
  return next_seq_ - first_seq_;
}

}  // namespace pmemd
