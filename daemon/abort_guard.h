// Aborts the mount's connection when the daemon dies, however it dies.
//
// A thread of ours may be inside the kernel waiting for an answer of ours: the flush and the inval
// of a removal do. If the daemon is killed then, that thread waits for ever (nobody answers) and
// keeps /dev/fuse open (so nobody fails the request): the process can't end, and keeps the pool
// locked. A child, which does nothing else, is told by the kernel that our main thread has ended,
// and aborts the connection, through fusectl. (A forced unmount would do it too, but by a path that
// may show another daemon's mount by then.) Without root, where nobody has mounted fusectl, there
// is no guard.
//
// The daemon may have it abort the connection while it lives, too: what hangs goes on then.
//
// Thread contract: start() from the main thread, while there is no other.
#pragma once

#include <sys/types.h>

#include <memory>

#include "core/base/error.h"

namespace pmemd {

class AbortGuard {
 public:
  // EAGAIN, ENOMEM: no process to be had.
  static Result<std::unique_ptr<AbortGuard>> start(dev_t device_number);
  ~AbortGuard();  // the connection has ended in order: nothing is aborted
  // Aborts the connection now; without a guard nothing happens. Returns at once.
  void abort() const;
  AbortGuard(const AbortGuard&) = delete;
  AbortGuard& operator=(const AbortGuard&) = delete;

 private:
  explicit AbortGuard(pid_t child) : child_(child) {}

  const pid_t child_;
};

}  // namespace pmemd
