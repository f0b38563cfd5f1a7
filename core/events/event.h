// Events: what happened to a range, in one format for every subscriber.
//
// Thread contract: EventBus: any thread. The sink is called without a lock held, in the order of
// `seq`, one call at a time, and must not block: it hands the event on to a thread of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/mutex.h"
#include "core/range/range.h"

namespace pmemd {

enum class EventKind {
  kPreRemove,
  kRemoved,
  kEnabled,
  kCreated,
  kDestroyed,
  kPoison,    // a touch of the range gets SIGBUS
  kCleared,   // it was poisoned, and was written anew
  kScrub,     // it was scrubbed
  kShutdown,  // the file system there can't go on
  // Stores of mappings to the file's range could not be written back, and are lost:
  kNoSpace,         // there is no space for it, in the namespace or on the host
  kWritebackError,  // for another reason
};
std::string_view to_string(EventKind kind);  // "pre-remove", "removed", …
std::optional<EventKind> parse_event_kind(std::string_view text);
std::string all_event_kinds();  // "pre-remove, removed, …"

// The part of an event in a file, in the file's coordinates.
struct EventFile {
  std::string path;  // from the mount's root
  FileRange range;
};

struct Event {
  uint64_t seq = 0;  // set by the bus: always increasing; without gaps while the daemon lives
  std::chrono::system_clock::time_point time = {};
  EventKind kind = EventKind::kEnabled;
  std::string name_of_namespace = {};
  DataRange range = {};  // in the namespace's data area
  std::optional<EventFile> file = {};
};

class EventBus {
 public:
  using Sink = std::function<void(const Event&)>;

  // Must be called before the first publish().
  void set_sink(Sink sink) { sink_ = std::move(sink); }
  // The same: sets the first event's number; 1 if not called.
  void number_from(uint64_t seq) PMEMD_EXCLUDES(mutex_);
  // Returns the event's number.
  uint64_t publish(EventKind kind, std::string name_of_namespace, DataRange range,
                   std::optional<EventFile> file = std::nullopt) PMEMD_EXCLUDES(mutex_);
  uint64_t published() const PMEMD_EXCLUDES(mutex_);  // how many

 private:
  Sink sink_;
  mutable Mutex mutex_;
  uint64_t first_seq_ PMEMD_GUARDED_BY(mutex_) = 1;
  uint64_t next_seq_ PMEMD_GUARDED_BY(mutex_) = 1;
  std::deque<Event> queue_ PMEMD_GUARDED_BY(mutex_);
  bool delivering_ PMEMD_GUARDED_BY(mutex_) = false;
};

}  // namespace pmemd
