// The threads that run the control socket's handlers.
//
// Invariants:
//  1. Calls that change something never take all threads, nor more than half of the queue: one
//     thread is always left for read-only calls, so that `list` and `mappers` answer while removals
//     wait for their deadlines.
//  2. The queue is bounded; a call that finds no place is refused at once. A quarter of it is
//     reserved for root and the daemon, and no other user gets more than a quarter.
//
// Thread contract: all functions from any thread, but not from a task.
#pragma once

#include <sys/types.h>

#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/user_budget.h"

namespace pmemd {

class ControlWorkers {
 public:
  enum class Kind { kTells, kChanges };

  // `threads`: at least two. EAGAIN: the system gives no more threads.
  static Result<std::unique_ptr<ControlWorkers>> start(unsigned threads, size_t max_queued);
  ~ControlWorkers();  // drops queued tasks, waits for running ones, however long that takes

  // EBUSY: the queue is full, or this user's share of it is. ESHUTDOWN: stopping.
  Result<void> submit(Kind kind, uid_t uid, std::function<void()> task) PMEMD_EXCLUDES(mutex_);

  // Takes no more tasks, drops those that haven't begun, and waits for the others. ETIMEDOUT: some
  // still ran at the deadline; they go on.
  Result<void> stop(Deadline deadline) PMEMD_EXCLUDES(mutex_);

 private:
  struct Task {
    Kind kind;
    std::function<void()> run;
    UserBudget::Charge place;   // until it runs
    UserBudget::Charge change;  // of a task that changes something
  };
  using Queue = std::deque<Task>;

  ControlWorkers(unsigned threads, size_t max_queued);
  void begin_stop() PMEMD_EXCLUDES(mutex_);
  void work() PMEMD_EXCLUDES(mutex_);
  Queue::iterator next_runnable() PMEMD_REQUIRES(mutex_);

  const unsigned max_changing_;
  UserBudget places_;                 // in the queue
  UserBudget changes_;                // of these, for calls that change something
  std::vector<std::thread> threads_;  // constant after start()

  Mutex mutex_;
  CondVar work_cv_;  // a task may have become runnable, or stopping_
  CondVar idle_cv_;  // running_ fell to 0
  Queue queue_ PMEMD_GUARDED_BY(mutex_);
  unsigned running_ PMEMD_GUARDED_BY(mutex_) = 0;
  unsigned changing_ PMEMD_GUARDED_BY(mutex_) = 0;  // of these, tasks that change something
  bool stopping_ PMEMD_GUARDED_BY(mutex_) = false;
};

}  // namespace pmemd
