#include "daemon/control/workers.h"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <cassert>
#include <system_error>

#include "core/base/memory.h"

namespace pmemd {
namespace {

UserBudget::Limits shares_of(size_t places) {
  return {.per_user = std::max<size_t>(places / 4, 1),
          .users = std::max<size_t>(places - places / 4, 1),
          .total = places};
}

}  // namespace

ControlWorkers::ControlWorkers(unsigned threads, size_t max_queued)
    : max_changing_(threads - 1),
      places_(shares_of(max_queued)),
      changes_(shares_of(max_queued / 2)) {}

Result<std::unique_ptr<ControlWorkers>> ControlWorkers::start(unsigned threads, size_t max_queued) {
  assert(threads >= 2);
  std::unique_ptr<ControlWorkers> workers(new ControlWorkers(threads, max_queued));
  try {
    for (unsigned i = 0; i < threads; ++i) {
      workers->threads_.emplace_back([pool = workers.get()] { pool->work(); });
    }
  } catch (const std::system_error& error) {
    return fail(error.code().value(), fmt::format("control socket: threads: {}", error.what()));
  }
  return workers;
}

ControlWorkers::~ControlWorkers() {
  begin_stop();
  for (std::thread& thread : threads_) thread.join();
}

Result<void> ControlWorkers::submit(Kind kind, uid_t uid, std::function<void()> task) {
  auto place = places_.charge(uid);
  auto change = kind == Kind::kChanges ? changes_.charge(uid) : std::optional(UserBudget::Charge());
  MutexLock lock(mutex_);
  if (stopping_) return fail(ESHUTDOWN, "the daemon is stopping");
  if (!place || !change) return fail(EBUSY, "too many requests at once", "try again");
  queue_.push_back({kind, std::move(task), *std::move(place), *std::move(change)});
  work_cv_.notify_one();
  return {};
}

Result<void> ControlWorkers::stop(Deadline deadline) {
  begin_stop();
  MutexLock lock(mutex_);
  while (running_ > 0) {
    if (!idle_cv_.wait_until(mutex_, deadline) && running_ > 0) {
      return fail(ETIMEDOUT,
                  fmt::format("control socket: {} requests did not end in time", running_));
    }
  }
  return {};
}

void ControlWorkers::begin_stop() {
  Queue dropped;  // destroyed after the lock: tasks hold what others own
  MutexLock lock(mutex_);
  stopping_ = true;
  dropped.swap(queue_);
  work_cv_.notify_all();
}

// A verb may be the way to free memory, so it isn't refused as long as some of the reserve is left.
void ControlWorkers::work() {
  pthread_setname_np(pthread_self(), "verbs");
  const MayUseReserve whole;
  while (true) {
    Task task;
    {
      MutexLock lock(mutex_);
      Queue::iterator next;
      while ((next = next_runnable()) == queue_.end()) {
        if (stopping_) return;
        work_cv_.wait(mutex_);
      }
      task = std::move(*next);
      queue_.erase(next);
      task.place = UserBudget::Charge();
      task.change = UserBudget::Charge();
      ++running_;
      if (task.kind == Kind::kChanges) ++changing_;
    }
    task.run();
    const Kind kind = task.kind;
    task.run = nullptr;
    MutexLock lock(mutex_);
    if (kind == Kind::kChanges) --changing_;
    if (--running_ == 0) idle_cv_.notify_all();
    work_cv_.notify_one();  // one that changes something may have waited for this one
  }
}

ControlWorkers::Queue::iterator ControlWorkers::next_runnable() {
  const bool may_change = changing_ < max_changing_;
  return std::find_if(queue_.begin(), queue_.end(), [may_change](const Task& task) {
    return task.kind == Kind::kTells || may_change;
  });
}

}  // namespace pmemd
