// Reports when a process ends: its pins end with it, even if its descriptors live on in a child.
//
// It has no thread: an event loop waits for fd(), and has dispatch() tell.
//
// Thread contract: add(), watches() from any thread; dispatch() from one. The callback runs in
// dispatch(), without a lock.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/unique_fd.h"
#include "core/base/user_budget.h"

namespace pmemd {

class ProcessWatch {
 public:
  // Each process is charged to `budget` while it is watched; `budget` must outlive this.
  ProcessWatch(UserBudget& budget, std::function<void(pid_t)> on_exit);
  ProcessWatch(const ProcessWatch&) = delete;
  ProcessWatch& operator=(const ProcessWatch&) = delete;

  // Watches `pid` until it ends; repeating it is not an error. The first user to ask pays. ESRCH:
  // it has ended, or isn't a process. ENOMEM: `uid` is at its limit of processes, or the daemon has
  // no descriptor left.
  Result<void> add(pid_t pid, uid_t uid) PMEMD_EXCLUDES(mutex_);
  // False: it has ended, and the callback has run or is about to.
  bool watches(pid_t pid) const PMEMD_EXCLUDES(mutex_);

  // Readable (EPOLLIN) while the end of a process hasn't been told.
  int fd() const { return epoll_.get(); }
  // Tells of all that have ended; doesn't wait.
  void dispatch() PMEMD_EXCLUDES(mutex_);

 private:
  struct Watched {
    UniqueFd pidfd;
    UserBudget::Charge charge;
  };

  void ended(pid_t pid) PMEMD_EXCLUDES(mutex_);

  UserBudget& budget_;
  const std::function<void(pid_t)> on_exit_;
  const UniqueFd epoll_;
  mutable Mutex mutex_;
  std::map<pid_t, Watched> watched_ PMEMD_GUARDED_BY(mutex_);
};

// The process of a thread. ESRCH: no such thread, or it can't be seen from here.
Result<pid_t> process_of(pid_t thread);

}  // namespace pmemd
