// Keeps the most recent events in the pool, so that a subscriber can ask for those it missed, even
// across restarts of the daemon.
//
// Invariants:
//  1. An event's number is above those of all earlier events, even across restarts. Numbers are
//     reserved in the pool in steps, before they are used; so after a SIGKILL the rest of a step is
//     never used, and the numbers have a gap there.
//  2. append() never waits for the database, except while numbers aren't reserved yet (a bounded
//     wait; after it, or while the database can't be written, numbers go on all the same). Its
//     queue is bounded: events that find no room are dropped from the log, but not from live
//     subscribers, and a reader is told how many are missing, in their place. A failure path must
//     not wait for the host's disk; a log with a reported gap is the lesser evil.
//  3. A reader that continues from `through` misses nothing and sees nothing twice.
//  4. At most `keep` events are kept, and a few more; older ones are reported as missed.
//
// Thread contract: append(): one call at a time, in order of `seq` (the bus's sink). The others:
// any thread. No lock is held across a transaction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/database/database.h"
#include "core/events/event.h"

namespace pmemd {

// An event; or, if `missed` isn't 0, that many missing events, the last of them `event.seq`.
struct LoggedEvent {
  Event event = {};
  uint64_t missed = 0;
};

struct EventPage {
  std::vector<LoggedEvent> events;
  uint64_t through = 0;  // the page has everything up to this number
  bool is_last = false;  // there was nothing after it
};

class EventLog {
 public:
  struct Options {
    uint64_t keep = 100'000;
    uint64_t trim = 1'000;       // how many are dropped at once
    size_t max_queued = 16'384;  // events not written yet
    uint64_t reserve = 65'536;   // numbers reserved at a time
    std::chrono::milliseconds wait_for_numbers{1'000};
  };

  // EIO, ENOSPC: pool.db.
  static Result<std::unique_ptr<EventLog>> open(Database& db, const Options& options);
  static Result<std::unique_ptr<EventLog>> open(Database& db) { return open(db, Options{}); }
  ~EventLog();  // writes what is queued
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // A number that no event has had, and that nobody else will use.
  uint64_t next_seq() const PMEMD_EXCLUDES(mutex_);

  void append(const Event& event) PMEMD_EXCLUDES(mutex_);

  // Events after the event `since` (0: from the oldest kept one), at most `max_events`. EIO:
  // pool.db.
  Result<EventPage> read(uint64_t since, size_t max_events) PMEMD_EXCLUDES(mutex_);

  // Waits until everything appended before is written, or dropped. ETIMEDOUT.
  Result<void> flush(Deadline deadline) PMEMD_EXCLUDES(mutex_);

 private:
  EventLog(Database& db, const Options& options) : db_(db), options_(options) {}
  Result<void> start() PMEMD_EXCLUDES(mutex_);
  void run() PMEMD_EXCLUDES(mutex_);
  bool wants_numbers() const PMEMD_REQUIRES(mutex_);
  // Whether only a gap is queued: it waits for the next event.
  bool is_gap_alone() const PMEMD_REQUIRES(mutex_);
  // One transaction: writes the batch, reserves numbers up to `reserve_to`, drops old events.
  Result<void> write(const std::deque<LoggedEvent>& batch, uint64_t reserve_to);
  Result<void> trim();
  Result<void> read_rows(uint64_t since, uint64_t through, size_t max_events,
                         std::vector<LoggedEvent>& events);

  Database& db_;
  const Options options_;
  uint64_t rows_ = 0;  // of the table; the writer's alone

  mutable Mutex mutex_;
  CondVar work_cv_;
  CondVar written_cv_;
  std::deque<LoggedEvent> queue_ PMEMD_GUARDED_BY(mutex_);
  std::deque<LoggedEvent> writing_ PMEMD_GUARDED_BY(mutex_);  // until it is committed
  uint64_t next_seq_ PMEMD_GUARDED_BY(mutex_) = 1;
  uint64_t last_seq_ PMEMD_GUARDED_BY(mutex_) = 0;  // that is or was in the queue
  uint64_t reserved_ PMEMD_GUARDED_BY(mutex_) = 0;  // numbers below it are ours
  bool can_write_ PMEMD_GUARDED_BY(mutex_) = true;
  bool stop_ PMEMD_GUARDED_BY(mutex_) = false;

  std::thread writer_;
};

}  // namespace pmemd
