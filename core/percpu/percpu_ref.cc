#include "core/percpu/percpu_ref.h"

#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace pmemd {

// The window is a few instructions, so there is usually nothing to wait for, or a thread that was
// preempted in it. Yielding doesn't help a thread of lower real-time priority: hence the pause.
uint64_t NativeMachine::await_clear(const Word& word, uint64_t bits) {
  constexpr int kYields = 64;
  for (int tries = 0;; ++tries) {
    const uint64_t value = word.load(std::memory_order_acquire);
    if ((value & bits) == 0) return value;
    if (tries < kYields) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }
}

void NativeMachine::give_up(const char* what) {
  (void)std::fprintf(stderr, "PercpuRef: %s\n", what);
  std::abort();
}

PercpuRef::PercpuRef(std::function<void()> release)
    : release_(std::move(release)), column_(ThreadCells::take_column()), count_(column_) {}

PercpuRef::~PercpuRef() {
  {
    MutexLock lock(mutex_);  // so the thread with the last put has unlocked it
    assert(drained_);
  }
  ThreadCells::give_back_column(column_);
}

void PercpuRef::reinit() {
  MutexLock lock(mutex_);
  assert(drained_);
  drained_ = false;
  count_.begin();
}

void PercpuRef::kill() {
  if (count_.kill()) finish();
}

void PercpuRef::resurrect() {
  if (count_.resurrect()) return;
  MutexLock lock(mutex_);
  while (!drained_) drained_cv_.wait(mutex_);  // finish() is still to run
  drained_ = false;
  count_.begin();
}

// Runs in the thread that brought the count to zero. Until it sets drained_, nobody frees the
// object or begins a new life; after the unlock, it touches nothing.
void PercpuRef::finish() {
  if (release_) release_();
  MutexLock lock(mutex_);
  drained_ = true;
  drained_cv_.notify_all();
}

Result<void> PercpuRef::wait(Deadline deadline) {
  MutexLock lock(mutex_);
  while (!drained_) {
    if (!drained_cv_.wait_until(mutex_, deadline) && !drained_) {
      return fail(ETIMEDOUT, "references left at the deadline");
    }
  }
  return {};
}

bool PercpuRef::is_drained() const {
  MutexLock lock(mutex_);
  return drained_;
}

}  // namespace pmemd
