#include "daemon/work_queue.h"

#include <pthread.h>

#include <utility>

namespace pmemd {

WorkQueue::WorkQueue() : thread_([this] { run(); }) {}

WorkQueue::~WorkQueue() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    work_cv_.notify_all();
  }
  thread_.join();
}

Result<void> WorkQueue::submit(std::function<void()> work) {
  MutexLock lock(mutex_);
  if (queue_.size() >= kMaxQueued) return fail(EAGAIN, "too much work is queued");
  queue_.push_back(std::move(work));
  work_cv_.notify_one();
  return {};
}

void WorkQueue::run() {
  pthread_setname_np(pthread_self(), "work-queue");
  while (true) {
    std::function<void()> work;
    {
      MutexLock lock(mutex_);
      while (queue_.empty() && !stop_) work_cv_.wait(mutex_);
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace pmemd
