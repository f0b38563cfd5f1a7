#include "core/pagemap/percpu_ref.h"

#include <cassert>

namespace pmemd {

PercpuRef::~PercpuRef() { assert(is_drained()); }

void PercpuRef::reinit() {
  assert(is_drained());
  state_.store(kOne, std::memory_order_release);
}

void PercpuRef::kill() {
  const uint64_t before = state_.fetch_or(kDead, std::memory_order_acq_rel);
  assert((before & kDead) == 0);
  (void)before;
  put();  // the owner's initial reference
}

void PercpuRef::resurrect() {
  assert(is_dying());
  state_.fetch_add(kOne - kDead, std::memory_order_acq_rel);  // the initial reference, and alive
}

PercpuRef::Ref PercpuRef::tryget_live() {
  uint64_t state = state_.load(std::memory_order_relaxed);
  while ((state & kDead) == 0) {
    if (state_.compare_exchange_weak(state, state + kOne, std::memory_order_acquire)) {
      return Ref(this);
    }
  }
  return {};
}

PercpuRef::Ref PercpuRef::tryget() {
  uint64_t state = state_.load(std::memory_order_relaxed);
  while (state >= kOne) {
    if (state_.compare_exchange_weak(state, state + kOne, std::memory_order_acquire)) {
      return Ref(this);
    }
  }
  return {};
}

void PercpuRef::get_many(uint64_t count) {
  state_.fetch_add(count * kOne, std::memory_order_acquire);
}

void PercpuRef::put() { put_many(1); }

// The last put happens under the lock, so that a waiter who sees it done may free the object: the
// putter touches nothing after its unlock.
void PercpuRef::put_many(uint64_t count) {
  const uint64_t held = count * kOne;
  uint64_t state = state_.load(std::memory_order_relaxed);
  while (state != (held | kDead)) {
    assert(state >= count * kOne);
    if (state_.compare_exchange_weak(state, state - held, std::memory_order_acq_rel)) return;
  }
  // Dead: nobody but tryget() can raise the count again, and it wants a holder beside us.
  MutexLock lock(mutex_);
  if (state_.fetch_sub(held, std::memory_order_acq_rel) == (held | kDead)) {
    drained_cv_.notify_all();
  }
}

Result<void> PercpuRef::wait(Deadline deadline) {
  MutexLock lock(mutex_);
  while (!is_drained()) {
    if (!drained_cv_.wait_until(mutex_, deadline) && !is_drained()) {
      return fail(ETIMEDOUT, "references left at the deadline");
    }
  }
  return {};
}

uint64_t PercpuRef::count() const {
  const uint64_t state = state_.load(std::memory_order_acquire);
  const uint64_t held = state / kOne;
  return (state & kDead) != 0 ? held : held - 1;
}

}  // namespace pmemd
