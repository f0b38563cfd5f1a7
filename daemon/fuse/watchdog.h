// Sees to it that requests go on being served, and that a stop ends.
//
// When nobody reads requests and none has been read for a moment, all threads are in one: another
// thread is added. When there are as many as there may be and still nothing moves for the stall
// timeout, the mount's connection is aborted: every request fails, and whoever waits for one goes
// on. That is the last resort, for what nobody has thought of: an end, not a hang.
//
// Invariants:
//  1. Nothing is aborted while a thread reads requests, or while requests go on being read.
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
    std::function<uint64_t()> progress;  // how many were read; of more than one caller's making
    std::function<bool()> add_thread;    // asks for one, doesn't wait; false: none comes
    std::function<void()> abort;         // the connection
    std::function<void()> exit;          // of the process, at once
  };
  struct Limits {
    std::chrono::milliseconds look{5000};          // so often, if nobody wakes it
    std::chrono::milliseconds settle{100};         // all threads busy for so long: one is added
    std::chrono::milliseconds stall{120'000};      // nothing moves for so long: abort; 0: never
    std::chrono::milliseconds exit_after{60'000};  // a stop that an abort doesn't end
  };

  Watchdog(Ports ports, Limits limits);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Somebody has found that nobody reads.
  void wake() noexcept;
  // The daemon stops. From now on it is enough that no request is read for `timeout`, whoever
  // reads: the connection is aborted, and exit_after later the process ends, unless this ends
  // before.
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
  std::atomic<int64_t> stop_timeout_ms_ = 0;  // 0: it doesn't stop

  // The watchdog's thread alone.
  uint64_t seen_ = 0;  // progress() then
  std::chrono::steady_clock::time_point moved_at_;
  std::chrono::steady_clock::time_point aborted_at_;

  std::thread thread_;  // last: it uses what is above
};

}  // namespace pmemd
