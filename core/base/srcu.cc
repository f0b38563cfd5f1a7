#include "core/base/srcu.h"

#include <cassert>
#include <iterator>
#include <memory>

#include "core/base/memory.h"

namespace pmemd {

Srcu::~Srcu() {
  MutexLock lock(mutex_);
  // The thread that ran the last callback may still be leaving run_ready().
  while (running_) idle_cv_.wait(mutex_);
  assert(readers_[0] == 0 && readers_[1] == 0);
  assert(waiting_.empty() && next_.empty() && ready_.empty());
}

Srcu::ReadSection& Srcu::ReadSection::operator=(ReadSection&& other) noexcept {
  if (this != &other) {
    close();
    srcu_ = std::exchange(other.srcu_, nullptr);
    slot_ = other.slot_;
  }
  return *this;
}

void Srcu::ReadSection::close() {
  if (srcu_ != nullptr) std::exchange(srcu_, nullptr)->read_unlock(slot_);
}

Srcu::ReadSection Srcu::read_lock() {
  MutexLock lock(mutex_);
  ++readers_[current_];
  return {this, current_};
}

void Srcu::read_unlock(unsigned slot) {
  {
    MutexLock lock(mutex_);
    assert(readers_[slot] > 0);
    if (--readers_[slot] != 0) return;
    advance();
    if (!must_run()) return;
  }
  run_ready();
}

// A grace period: new sections enter the other slot, and it ends when the old slot is empty.
// `waiting_` belongs to the current period. Callbacks retired meanwhile go to `next_`, because a
// section of the current slot may be older than they are; they need a period of their own.
void Srcu::advance() {
  const MustAllocate whole;
  while (readers_[1 - current_] == 0) {
    std::move(waiting_.begin(), waiting_.end(), std::back_inserter(ready_));
    waiting_.clear();
    if (next_.empty()) break;
    current_ = 1 - current_;
    waiting_.swap(next_);
  }
}

bool Srcu::must_run() {
  if (running_ || ready_.empty()) return false;
  running_ = true;
  return true;
}

// A callback may end a synchronize() whose caller then destroys us. So `running_` stays set between
// callbacks, and nothing is touched after the unlock that follows clearing it.
void Srcu::run_ready() {
  while (true) {
    std::function<void()> callback;
    {
      MutexLock lock(mutex_);
      if (ready_.empty()) {
        running_ = false;
        idle_cv_.notify_all();
        return;
      }
      callback = std::move(ready_.front());
      ready_.pop_front();
    }
    callback();
  }
}

void Srcu::retire(std::function<void()> callback) {
  {
    const MustAllocate whole;
    MutexLock lock(mutex_);
    next_.push_back(std::move(callback));
    advance();
    if (!must_run()) return;
  }
  run_ready();
}

Result<void> Srcu::synchronize(Deadline deadline) {
  struct Waiter {
    Mutex mutex;
    CondVar done_cv;
    bool done PMEMD_GUARDED_BY(mutex) = false;
  };
  // Shared: after a timeout the callback outlives this call.
  auto waiter = std::make_shared<Waiter>();
  retire([waiter] {
    MutexLock lock(waiter->mutex);
    waiter->done = true;
    waiter->done_cv.notify_all();
  });
  MutexLock lock(waiter->mutex);
  while (!waiter->done) {
    if (!waiter->done_cv.wait_until(waiter->mutex, deadline) && !waiter->done) {
      return fail(ETIMEDOUT, "requests in flight did not end before the deadline");
    }
  }
  return {};
}

uint64_t Srcu::open_sections() const {
  MutexLock lock(mutex_);
  return readers_[0] + readers_[1];
}

}  // namespace pmemd
