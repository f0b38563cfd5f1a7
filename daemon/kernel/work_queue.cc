#include "daemon/kernel/work_queue.h"

#include <fmt/format.h>
#include <pthread.h>

#include <utility>

#include "core/base/memory.h"

namespace pmemd {

WorkQueue::WorkQueue(UserBudget& budget) : budget_(budget), thread_([this] { run(); }) {}

WorkQueue::~WorkQueue() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    work_cv_.notify_all();
  }
  thread_.join();
}

void WorkQueue::push(uid_t uid, Work work) {
  const MustAllocate whole;
  queues_[uid].push_back(std::move(work));
  work_cv_.notify_one();
}

Result<void> WorkQueue::submit(uid_t uid, std::function<void()> work) {
  auto charge = budget_.charge(uid);
  if (!charge) return fail(EAGAIN, fmt::format("user {} has too much work queued", uid));
  MutexLock lock(mutex_);
  push(uid, {.run = std::move(work), .charge = *std::move(charge)});
  return {};
}

void WorkQueue::submit_once(uint64_t key, std::function<void()> work) {
  const MustAllocate whole;
  MutexLock lock(mutex_);
  if (!keys_.insert(key).second) return;
  push(0, {.run = std::move(work), .key = key});
}

std::optional<WorkQueue::Work> WorkQueue::next() {
  MutexLock lock(mutex_);
  while (queues_.empty() && !stop_) work_cv_.wait(mutex_);
  if (queues_.empty()) return std::nullopt;
  auto turn = queues_.upper_bound(last_);
  if (turn == queues_.end()) turn = queues_.begin();
  last_ = turn->first;
  Work work = std::move(turn->second.front());
  turn->second.pop_front();
  if (turn->second.empty()) queues_.erase(turn);
  if (work.key) keys_.erase(*work.key);
  return work;
}

void WorkQueue::run() {
  pthread_setname_np(pthread_self(), "work-queue");
  while (auto work = next()) work->run();
}

}  // namespace pmemd
