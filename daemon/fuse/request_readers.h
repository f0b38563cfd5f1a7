// Which of the request threads wait for a request in read(2) of /dev/fuse: leader and followers.
//
// One thread that serves a request and reads the next finds what it needs in its CPU's caches, and
// the kernel has nobody else to wake. So as long as requests are short, one thread alone reads, and
// the others are parked. Before a request may have to wait, or copies much, its thread hands the
// reading on (core/base/blocking.h), so that no request waits for another's disk or lock. Where
// requests often do that, as many threads stay readers as are needed at once.
//
// Thread contract: thread-safe. Takes no lock: hand_on() is called under other's.
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
  // After so many requests for which nobody had to be woken, one reader is enough.
  static constexpr uint32_t kShortInARow = 32;

  RequestReaders() { sem_init(&turns_, 0, 0); }
  ~RequestReaders() override { sem_destroy(&turns_); }
  RequestReaders(const RequestReaders&) = delete;
  RequestReaders& operator=(const RequestReaders&) = delete;

  // A thread wants to read. Returns when it shall: at once, or when it is its turn. At the end
  // everybody shall: read(2) tells them why.
  void begin_read();
  // It has read one.
  void end_read();
  // The caller's request may take long: if nobody reads, one of the parked does; if none is parked,
  // who asked for it is told.
  void hand_on() noexcept;
  // Called from hand_on(), so with any lock held, and often: takes none, waits for nothing. Before
  // there are threads.
  void on_exhausted(std::function<void()> tell) { exhausted_ = std::move(tell); }
  // Nobody is parked from now on.
  void end();

  void about_to_block() noexcept override { hand_on(); }

  uint32_t reading() const { return reading_of(state_.load(std::memory_order_relaxed)); }
  // For tests.
  uint32_t parked() const { return parked_of(state_.load(std::memory_order_relaxed)); }

 private:
  // One word, so that "nobody reads" and "one is parked" is one look: a bit for the end, 15 bits of
  // parked, 16 of reading.
  static constexpr uint32_t kEnded = 1U << 31;
  static constexpr uint32_t kOneParked = 1U << 16;
  static constexpr uint32_t reading_of(uint32_t state) { return state & (kOneParked - 1); }
  static constexpr uint32_t parked_of(uint32_t state) { return (state & ~kEnded) / kOneParked; }

  std::atomic<uint32_t> state_ = 0;
  std::atomic<uint32_t> short_in_a_row_ = 0;
  std::function<void()> exhausted_;  // constant after the start
  // One for each that was parked and shall read. Not std::counting_semaphore: that of libstdc++ 12
  // loses a wakeup when two are released before the first has woken (its PR 104928).
  sem_t turns_;
};

}  // namespace pmemd
