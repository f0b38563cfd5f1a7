// Does the work that a thread which serves requests must not do: work that notifies the kernel or
// waits for it (daemon/kernel/kernel_notifier.h), and answers a request only afterwards.
//
// One thread. Users take turns, in the order of their uids: a user with much work delays others by
// one piece of it at a time. All queued work is done, even at the end.
//
// Thread contract: submit…() from any thread.
// Models: kernel/workqueue.c queue_work() on an ordered workqueue @v6.12; differs: bounded, and in
// turns.
#pragma once

#include <sys/types.h>

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/user_budget.h"

namespace pmemd {

class WorkQueue {
 public:
  // A user's work is charged to `budget` until it is done; `budget` must outlive this.
  explicit WorkQueue(UserBudget& budget);
  ~WorkQueue();  // waits until all work is done; nobody may submit any more
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // EAGAIN: the user has too much work queued; this wasn't queued.
  Result<void> submit(uid_t uid, std::function<void()> work) PMEMD_EXCLUDES(mutex_);
  // For the daemon's own work, at root's turn. Queues nothing while work with that key hasn't
  // begun: it stands for this one, too.
  void submit_once(uint64_t key, std::function<void()> work) PMEMD_EXCLUDES(mutex_);

 private:
  struct Work {
    std::function<void()> run;
    UserBudget::Charge charge = {};
    std::optional<uint64_t> key = {};
  };

  void push(uid_t uid, Work work) PMEMD_REQUIRES(mutex_);
  std::optional<Work> next() PMEMD_EXCLUDES(mutex_);
  void run() PMEMD_EXCLUDES(mutex_);

  UserBudget& budget_;

  Mutex mutex_;
  CondVar work_cv_;
  std::map<uid_t, std::deque<Work>> queues_ PMEMD_GUARDED_BY(mutex_);  // none is empty
  uid_t last_ PMEMD_GUARDED_BY(mutex_) = 0;                            // whose turn it was
  std::set<uint64_t> keys_ PMEMD_GUARDED_BY(mutex_);
  bool stop_ PMEMD_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace pmemd
