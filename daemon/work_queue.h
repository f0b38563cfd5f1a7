// Does what a thread that serves requests must not: work that notifies the kernel or waits for it
// (daemon/kernel_notifier.h), and answers a request only then.
//
// One thread, a queue with a limit. What is queued is done, also at the end.
//
// Thread contract: submit() from any thread.
// Models: kernel/workqueue.c queue_work() on an ordered workqueue @v6.12; differs: bounded.
#pragma once

#include <deque>
#include <functional>
#include <thread>

#include "core/base/error.h"
#include "core/base/mutex.h"

namespace pmemd {

class WorkQueue {
 public:
  static constexpr size_t kMaxQueued = 4096;

  WorkQueue();
  ~WorkQueue();  // when all is done; nobody submits any more
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // EAGAIN: the queue is full; nothing was queued.
  Result<void> submit(std::function<void()> work) PMEMD_EXCLUDES(mutex_);

 private:
  void run() PMEMD_EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar work_cv_;
  std::deque<std::function<void()>> queue_ PMEMD_GUARDED_BY(mutex_);
  bool stop_ PMEMD_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace pmemd
