// Decides which request threads wait in read(2) of /dev/fuse: leader and followers.
//
// A thread that serves a request and reads the next one finds its data in its CPU's caches, and the
// kernel need not wake another thread. So while requests are short, one thread alone reads, and the
// others are parked. Before a request may have to wait, or copies much, its thread hands the
// reading on (core/base/blocking.h), so that no request waits for another's disk or lock. If
// requests often do that, as many threads stay readers as are needed at once.
//
// Thread contract: any thread. Takes no lock: about_to_block() is called with locks held.
#pragma once

#include <semaphore.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "core/base/blocking.h"

namespace pmemd {

class RequestReaders final : public BlockingHook {
 public:
  // After this many requests in a row that woke nobody, one reader is enough.
  static constexpr uint32_t kShortInARow = 32;

  RequestReaders() { sem_init(&turns_, 0, 0); }
  ~RequestReaders() override { sem_destroy(&turns_); }
  RequestReaders(const RequestReaders&) = delete;
  RequestReaders& operator=(const RequestReaders&) = delete;

  // A thread wants to read. Returns when it may: at once, or when it is its turn. After end() every
  // thread may: read(2) tells it why.
  void begin_read();
  // The thread has read a request.
  void end_read();
  // The caller's request may take long: if nobody reads, wakes a parked thread to read; if none is
  // parked, calls the on_exhausted() callback.
  void about_to_block() noexcept override;
  // Set before there are threads. about_to_block() calls `tell` with any lock held, and often: it
  // must take no lock and wait for nothing.
  void on_exhausted(std::function<void()> tell) { exhausted_ = std::move(tell); }
  // No thread is parked from now on.
  void end();

  uint32_t reading() const { return reading_of(state_.load(std::memory_order_relaxed)); }
  // For tests.
  uint32_t parked() const { return parked_of(state_.load(std::memory_order_relaxed)); }

 private:
  // One word, so that one load answers "nobody reads" and "one is parked": 1 bit for the end, 15
  // bits for the number of parked threads, 16 for the number of reading ones.
  static constexpr uint32_t kEnded = 1U << 31;
  static constexpr uint32_t kOneParked = 1U << 16;
  static constexpr uint32_t reading_of(uint32_t state) { return state & (kOneParked - 1); }
  static constexpr uint32_t parked_of(uint32_t state) { return (state & ~kEnded) / kOneParked; }

  std::atomic<uint32_t> state_ = 0;
  std::atomic<uint32_t> short_in_a_row_ = 0;
  std::function<void()> exhausted_;  // constant after the start
  // One post for each parked thread that is to read. Not std::counting_semaphore: libstdc++ 12's
  // loses a wakeup if two are released before the first has woken (its PR 104928).
  sem_t turns_;
};

}  // namespace pmemd
