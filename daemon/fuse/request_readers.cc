#include "daemon/fuse/request_readers.h"

namespace pmemd {

void RequestReaders::begin_read() {
  uint32_t state = state_.load(std::memory_order_relaxed);
  const bool one_is_enough = short_in_a_row_.load(std::memory_order_relaxed) >= kShortInARow;
  for (;;) {
    const bool park = one_is_enough && reading_of(state) > 0 && (state & kEnded) == 0;
    if (state_.compare_exchange_weak(state, state + (park ? kOneParked : 1))) {
      // The thread that posts it has counted this one as a reader.
      while (park && sem_wait(&turns_) != 0) {  // EINTR
      }
      return;
    }
  }
}

void RequestReaders::end_read() {
  state_.fetch_sub(1);
  // No larger count is needed. A count lost between two threads does no harm.
  const uint32_t count = short_in_a_row_.load(std::memory_order_relaxed);
  if (count < kShortInARow) short_in_a_row_.store(count + 1, std::memory_order_relaxed);
}

void RequestReaders::about_to_block() noexcept {
  uint32_t state = state_.load();
  while (reading_of(state) == 0 && parked_of(state) > 0) {
    if (state_.compare_exchange_weak(state, state - kOneParked + 1)) {
      short_in_a_row_.store(0, std::memory_order_relaxed);
      sem_post(&turns_);
      return;
    }
  }
  if (reading_of(state) == 0 && (state & kEnded) == 0 && exhausted_) exhausted_();
}

void RequestReaders::end() {
  uint32_t state = state_.load();
  const auto ended = [](uint32_t was) { return kEnded | (reading_of(was) + parked_of(was)); };
  while (!state_.compare_exchange_weak(state, ended(state))) {
  }
  for (uint32_t i = parked_of(state); i > 0; --i) sem_post(&turns_);
}

}  // namespace pmemd
