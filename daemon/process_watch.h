// Tells when a process ends: what it pinned goes with it, even if its descriptors live on in a
// child.
//
// Thread contract: any thread. The callback runs in a thread of the watch, without a lock; it must
// not wait.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <thread>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/unique_fd.h"

namespace pmemd {

class ProcessWatch {
 public:
  explicit ProcessWatch(std::function<void(pid_t)> on_exit);
  ~ProcessWatch();  // ends the thread
  ProcessWatch(const ProcessWatch&) = delete;
  ProcessWatch& operator=(const ProcessWatch&) = delete;

  // Until it ends; again is no error. ESRCH: it has ended, or is no process. EMFILE: too many.
  Result<void> add(pid_t pid) PMEMD_EXCLUDES(mutex_);
  // False: it has ended, and the callback has run or is about to.
  bool watches(pid_t pid) const PMEMD_EXCLUDES(mutex_);

 private:
  void run();
  void ended(pid_t pid) PMEMD_EXCLUDES(mutex_);

  const std::function<void(pid_t)> on_exit_;
  const UniqueFd epoll_;
  const UniqueFd stop_;  // eventfd
  mutable Mutex mutex_;
  std::map<pid_t, UniqueFd> pidfds_ PMEMD_GUARDED_BY(mutex_);
  std::thread thread_;
};

// The process of a thread. ESRCH: no such thread, or not to be seen from here.
Result<pid_t> process_of(pid_t thread);

}  // namespace pmemd
