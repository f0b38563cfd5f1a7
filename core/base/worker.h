// A thread with a name, and the work that it does: as soon as it can, or not before a time.
//
// Whoever must not wait, or must not do something itself (a thread that serves requests must not
// notify the kernel), submits it here.
//
// Invariants:
//  1. No lock is held while work runs.
//  2. Users take turns, in the order of their uids: one with much work delays the others by one
//     piece of it at a time. A user's work is done in its order.
//  3. The destructor does what is queued, and drops what waits for its time.
//  4. What has a key is bounded by the number of keys, a user's work by a budget; who calls waits,
//     until a timeout.
//  5. After cancel() nothing of that owner runs, and nothing of it is queued, even if its work
//     submits itself again.
//
// Work with a key belongs to an owner, who ends it with cancel(): usually in its destructor, since
// work refers to it.
//
// Thread contract: any thread; call() and cancel() not from the worker's own. submit…() doesn't
// block, and its queue takes memory from the reserve if it must (core/base/memory.h). The
// constructor throws std::system_error if there is no thread.
// Models: kernel/workqueue.c queue_work(), mod_delayed_work(), cancel_work_sync() on an ordered
// workqueue @v6.12; differs: users take turns.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <compare>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/user_budget.h"

namespace pmemd {

class Worker {
 public:
  using Work = std::move_only_function<void()>;
  struct Key {
    const void* owner = nullptr;
    uint64_t id = 0;
    auto operator<=>(const Key&) const = default;
  };

  explicit Worker(const char* name);  // a literal, of at most 15 bytes
  ~Worker();                          // no other thread may submit any more
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The daemon's own work, at root's turn.
  void submit(Work work) PMEMD_EXCLUDES(mutex_);
  // At the user's turn. The charge is held until it is done.
  void submit(uid_t user, UserBudget::Charge charge, Work work) PMEMD_EXCLUDES(mutex_);
  // At root's turn, not before `when`. Queues nothing if work with that key hasn't begun: it stands
  // for this one, too, and is done at the earlier of the two times.
  void submit_once(Key key, Work work, Deadline when = {}) PMEMD_EXCLUDES(mutex_);
  // Drops the owner's work that hasn't begun, and what it submits from now on until none of it
  // runs, which is when it returns.
  void cancel(const void* owner) PMEMD_EXCLUDES(mutex_);

  // Has `work` (returns a Result) done at root's turn, and returns what it returns. ETIMEDOUT: it
  // goes on without the caller.
  template <class Call>
  std::invoke_result_t<Call&> call(Call work, std::chrono::milliseconds timeout)
      PMEMD_EXCLUDES(mutex_) {
    std::packaged_task<std::invoke_result_t<Call&>()> task(std::move(work));
    auto result = task.get_future();
    submit(std::move(task));
    if (result.wait_for(timeout) != std::future_status::ready) return fail(ETIMEDOUT);
    return result.get();
  }

  bool is_own_thread(pid_t tid) const { return tid == tid_.load(std::memory_order_relaxed); }

 private:
  struct Piece {
    Work run;
    UserBudget::Charge charge = {};
    std::optional<Key> key = {};
  };
  struct Delayed {
    Deadline when;
    Work run = {};
  };

  void push(uid_t user, Piece piece) PMEMD_REQUIRES(mutex_);
  void queue(Key key) PMEMD_REQUIRES(mutex_);  // what was delayed
  void drop(const void* owner, std::vector<Work>& dropped) PMEMD_REQUIRES(mutex_);
  // Queues what is due; returns when the next is.
  Deadline queue_due() PMEMD_REQUIRES(mutex_);
  std::optional<Piece> next() PMEMD_EXCLUDES(mutex_);
  void run(const char* name) PMEMD_EXCLUDES(mutex_);

  std::atomic<pid_t> tid_ = 0;

  Mutex mutex_;
  CondVar work_cv_;
  CondVar done_cv_;                                                     // running_ has ended
  std::map<uid_t, std::deque<Piece>> queues_ PMEMD_GUARDED_BY(mutex_);  // none is empty
  uid_t last_ PMEMD_GUARDED_BY(mutex_) = 0;                             // whose turn it was
  std::set<Key> queued_ PMEMD_GUARDED_BY(mutex_);                       // in root's queue
  std::map<Key, Delayed> delayed_ PMEMD_GUARDED_BY(mutex_);
  std::set<const void*> cancelled_ PMEMD_GUARDED_BY(mutex_);  // owners, during cancel()
  const void* running_ PMEMD_GUARDED_BY(mutex_) = nullptr;    // the owner of what runs
  bool stop_ PMEMD_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace pmemd
