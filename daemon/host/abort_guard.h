// Aborts the mount's connection when the daemon dies, however it dies.
//
// A thread of ours may be inside the kernel waiting for our own reply: the flush and the inval of a
// removal do that. If the daemon is killed then, that thread waits for ever (nobody replies) and
// keeps /dev/fuse open (so nobody fails the request): the process can't end, and keeps the pool
// locked. A child, which does nothing else, is told by the kernel that our main thread has ended,
// and aborts the connection through fusectl. (A forced unmount would work, too, but it uses a path
// that may show another daemon's mount by then.) Without root, where nobody has mounted fusectl,
// there is no guard.
//
// A living daemon can also make the guard abort the connection, which frees whatever hangs.
//
// Thread contract: start() from the main thread, while there is no other.
#pragma once

#include <sys/types.h>

#include <memory>
#include <utility>

#include "core/base/error.h"
#include "core/base/unique_fd.h"

namespace pmemd {

class AbortGuard {
 public:
  // Forks the child. EAGAIN, ENOMEM: no process available. EMFILE, ENFILE: no descriptor.
  static Result<std::unique_ptr<AbortGuard>> start();
  // Guards the mount from here on; returns when the child has what it needs, or can't have it.
  void watch(dev_t device_number);
  ~AbortGuard();  // the connection has ended in order: nothing is aborted
  // Aborts the connection, and returns when that is done: the kernel takes no more replies from us.
  // Does nothing without a guard. Waits 5 s at most.
  void abort() const;
  AbortGuard(const AbortGuard&) = delete;
  AbortGuard& operator=(const AbortGuard&) = delete;

 private:
  AbortGuard(pid_t child, UniqueFd pidfd, UniqueFd socket)
      : child_(child), pidfd_(std::move(pidfd)), socket_(std::move(socket)) {}

  const pid_t child_;
  const UniqueFd pidfd_;  // readable when the guard has done its work, and ended
  UniqueFd socket_;       // to the child, until it watches
};

}  // namespace pmemd
