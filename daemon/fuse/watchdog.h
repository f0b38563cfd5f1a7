// Makes sure that requests keep being served, and that a stop ends.
//
// When no thread reads requests and none has been read for a moment, all threads are busy with one:
// another thread is added. When no more may be added and nothing moves for the stall timeout, the
// mount's connection is aborted: every request fails, and processes that wait for one go on. This
// turns an unforeseen hang into an end.
//
// Invariants:
//  1. Nothing is aborted while a thread reads requests, or while requests keep being read.
//  2. Once stop_within() was called the process ends: by itself, or by abort() and then exit().
//
// Thread contract: wake() from any thread, with any lock held; the others from the main thread. The
// ports are called from the watchdog's own thread, which holds no lock.
#pragma once

#include <semaphore.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <thread>

#include "core/base/mutex.h"

namespace pmemd {

class Watchdog {
 public:
  struct Ports {
    std::function<bool()> nobody_reads;  // requests
    std::function<uint64_t()> progress;  // how many requests were read, from all callers
    std::function<bool()> is_writing;    // the medium, which takes as long as the host's disk needs
    std::function<bool()> add_thread;    // asks for one, doesn't wait; false: none comes
    std::function<void()> abort;         // the connection
    std::function<void()> exit;          // of the process, at once
  };
  struct Limits {
    std::chrono::milliseconds look{5000};          // the interval, if nobody wakes it
    std::chrono::milliseconds settle{100};         // all threads busy for this long: one is added
    std::chrono::milliseconds stall{120'000};      // nothing moves for this long: abort; 0: never
    std::chrono::milliseconds exit_after{60'000};  // after the abort, if the stop hasn't ended
  };

  Watchdog(Ports ports, Limits limits);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Tells that no thread reads requests.
  void wake() noexcept;
  // The daemon stops. From now on the connection is aborted if no request is read for `timeout`,
  // even if threads read, unless the medium is being written; exit_after later the process ends,
  // unless the watchdog ends first.
  void stop_within(std::chrono::milliseconds timeout);
  bool has_aborted() const { return aborted_.load(std::memory_order_acquire); }

 private:
  void run();
  // Returns when it was woken, or after `timeout`.
  void wait(std::chrono::milliseconds timeout);
  void look();
  void abort();

  const Ports ports_;
  const Limits limits_;
  sem_t wakeup_;
  std::atomic<bool> woken_ = false;
  std::atomic<bool> ended_ = false;
  std::atomic<bool> aborted_ = false;
  std::atomic<int64_t> stop_timeout_ms_ = 0;  // 0: the daemon isn't stopping

  // The watchdog's thread alone.
  uint64_t seen_ = 0;  // progress() at moved_at_
  std::chrono::steady_clock::time_point moved_at_;
  std::chrono::steady_clock::time_point aborted_at_;

  std::thread thread_;  // last: it uses the members above
};

}  // namespace pmemd
