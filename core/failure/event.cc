#include "core/failure/event.h"

#include <utility>

namespace pmemd {

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
  }
  return "unknown";
}

uint64_t EventBus::publish(EventKind kind, std::string name_of_namespace, DataRange range,
                           std::optional<EventFile> file) {
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
      if (delivering_ || queue_.empty()) return seq;  // another thread is at it, or did it
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
  return next_seq_ - 1;
}

}  // namespace pmemd
