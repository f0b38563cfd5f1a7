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
  }
  return "unknown";
}

void EventBus::publish(EventKind kind, std::string name_of_namespace, DataRange range,
                       std::optional<EventFile> file) {
  {
    MutexLock lock(mutex_);
    queue_.push_back({next_seq_++, std::chrono::system_clock::now(), kind,
                      std::move(name_of_namespace), range, std::move(file)});
  }
  while (true) {
    Event event;
    {
      MutexLock lock(mutex_);
      if (delivering_ || queue_.empty()) return;  // another thread is at it, or did it
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
