// A mutex and a condition variable that Clang's thread-safety analysis understands.
//
// Shared fields are declared PMEMD_GUARDED_BY(mutex_); functions that need the lock held say
// PMEMD_REQUIRES(mutex_). docs/locking.md has one heading per lock, and their order.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "core/base/blocking.h"

#if defined(__clang__)
#define PMEMD_ATTRIBUTE(x) __attribute__((x))
#else
#define PMEMD_ATTRIBUTE(x)
#endif

#define PMEMD_CAPABILITY(name) PMEMD_ATTRIBUTE(capability(name))
#define PMEMD_SCOPED_CAPABILITY PMEMD_ATTRIBUTE(scoped_lockable)
#define PMEMD_GUARDED_BY(mutex) PMEMD_ATTRIBUTE(guarded_by(mutex))
#define PMEMD_REQUIRES(...) PMEMD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define PMEMD_EXCLUDES(...) PMEMD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define PMEMD_ACQUIRE(...) PMEMD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define PMEMD_RELEASE(...) PMEMD_ATTRIBUTE(release_capability(__VA_ARGS__))

namespace pmemd {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

inline Deadline deadline_after(std::chrono::milliseconds duration) {
  return Clock::now() + duration;
}

class PMEMD_CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() PMEMD_ACQUIRE() {
    if (!mutex_.try_lock()) {
      about_to_block();
      mutex_.lock();
    }
    set_owner();
  }
  void unlock() PMEMD_RELEASE() {
    clear_owner();
    mutex_.unlock();
  }

  // Whether the calling thread holds it. Models: lockdep_is_held().
  bool is_held() const { return owner_.load(std::memory_order_relaxed) == caller(); }

 private:
  friend class CondVar;

  static const void* caller() { return __builtin_thread_pointer(); }
  void set_owner() { owner_.store(caller(), std::memory_order_relaxed); }
  void clear_owner() { owner_.store(nullptr, std::memory_order_relaxed); }

  std::mutex mutex_;
  std::atomic<const void*> owner_ = nullptr;  // the holder
};

class PMEMD_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) PMEMD_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() PMEMD_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Waits are loops: `while (!condition) cv.wait(mutex_);`, so that the analysis sees the lock.
class CondVar {
 public:
  void wait(Mutex& mutex) PMEMD_REQUIRES(mutex) {
    about_to_block();
    mutex.clear_owner();
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
    mutex.set_owner();
  }
  // False when the deadline has passed.
  [[nodiscard]] bool wait_until(Mutex& mutex, Deadline deadline) PMEMD_REQUIRES(mutex) {
    about_to_block();
    mutex.clear_owner();
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    const bool in_time = cv_.wait_until(lock, deadline) == std::cv_status::no_timeout;
    lock.release();
    mutex.set_owner();
    return in_time;
  }
  void notify_one() { cv_.notify_one(); }
  void notify_all() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace pmemd
