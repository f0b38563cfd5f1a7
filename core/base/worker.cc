#include "core/base/worker.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <vector>

#include "core/base/memory.h"

namespace pmemd {

Worker::Worker(const char* name) : thread_([this, name] { run(name); }) {
  assert(std::strlen(name) <= 15);
}

Worker::~Worker() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    work_cv_.notify_all();
  }
  thread_.join();
}

void Worker::push(uid_t user, Piece piece) {
  queues_[user].push_back(std::move(piece));
  work_cv_.notify_one();
}

void Worker::submit(Work work) {
  const MustAllocate whole;
  MutexLock lock(mutex_);
  push(0, {.run = std::move(work)});
}

void Worker::submit(uid_t user, UserBudget::Charge charge, Work work) {
  const MustAllocate whole;
  MutexLock lock(mutex_);
  push(user, {.run = std::move(work), .charge = std::move(charge)});
}

void Worker::submit_once(Key key, Work work, Deadline when) {
  const MustAllocate whole;
  MutexLock lock(mutex_);
  if (queued_.contains(key) || cancelled_.contains(key.owner)) return;
  const auto [delayed, is_new] = delayed_.try_emplace(key, Delayed{.when = when});
  if (is_new) delayed->second.run = std::move(work);
  delayed->second.when = std::min(delayed->second.when, when);
  if (when <= Clock::now()) {
    queue(key);
  } else {
    work_cv_.notify_one();
  }
}

void Worker::queue(Key key) {
  Delayed due = std::move(delayed_.extract(key).mapped());
  queued_.insert(key);
  push(0, {.run = std::move(due.run), .key = key});
}

Deadline Worker::queue_due() {
  const MustAllocate whole;
  while (!delayed_.empty()) {
    const auto next = std::ranges::min_element(
        delayed_, {}, [](const auto& delayed) { return delayed.second.when; });
    if (next->second.when > Clock::now()) return next->second.when;
    queue(next->first);
  }
  return Deadline::max();
}

void Worker::cancel(const void* owner) {
  assert(!is_own_thread(gettid()));
  const MustAllocate whole;
  std::vector<Work> dropped;  // destroyed after the lock
  MutexLock lock(mutex_);
  cancelled_.insert(owner);
  drop(owner, dropped);
  while (running_ == owner) done_cv_.wait(mutex_);
  cancelled_.erase(owner);
}

void Worker::drop(const void* owner, std::vector<Work>& dropped) {
  for (auto it = delayed_.begin(); it != delayed_.end();) {
    if (it->first.owner != owner) {
      ++it;
      continue;
    }
    dropped.push_back(std::move(it->second.run));
    it = delayed_.erase(it);
  }
  if (std::erase_if(queued_, [owner](const Key& key) { return key.owner == owner; }) == 0) return;
  std::deque<Piece> kept;
  for (Piece& piece : queues_.at(0)) {
    if (piece.key && piece.key->owner == owner) {
      dropped.push_back(std::move(piece.run));
    } else {
      kept.push_back(std::move(piece));
    }
  }
  queues_.at(0).swap(kept);
  if (queues_.at(0).empty()) queues_.erase(0);
}

std::optional<Worker::Piece> Worker::next() {
  MutexLock lock(mutex_);
  running_ = nullptr;
  done_cv_.notify_all();
  while (true) {
    const Deadline due = queue_due();
    if (!queues_.empty()) break;
    if (stop_) return std::nullopt;
    if (due == Deadline::max()) {
      work_cv_.wait(mutex_);
    } else {
      (void)work_cv_.wait_until(mutex_, due);
    }
  }
  auto turn = queues_.upper_bound(last_);
  if (turn == queues_.end()) turn = queues_.begin();
  last_ = turn->first;
  Piece piece = std::move(turn->second.front());
  turn->second.pop_front();
  if (turn->second.empty()) queues_.erase(turn);
  if (piece.key) {
    queued_.erase(*piece.key);
    running_ = piece.key->owner;
  }
  return piece;
}

void Worker::run(const char* name) {
  pthread_setname_np(pthread_self(), name);
  tid_.store(gettid(), std::memory_order_relaxed);
  // The piece is destroyed before the next one is taken: cancel() waits for that, too.
  while (auto piece = next()) piece->run();
}

}  // namespace pmemd
