// Tells the kernel that poll(2) on a file has something to report (FUSE_NOTIFY_POLL).
//
// A worker of its own does it, so that a caller with an event for a thousand files only notes them,
// and so that no wakeup waits behind the notifier's flushes and invals. The kernel only wakes its
// sleepers, and needs nothing from us before it returns. At most one wakeup is noted for each open
// file: a later one means the same.
//
// Thread contract: any thread.
// On the kernel's side: fs/fuse/file.c fuse_notify_poll_wakeup() @v6.12.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "core/base/mutex.h"
#include "core/base/worker.h"

struct fuse_pollhandle;

namespace pmemd {

// Shared, because a wakeup is a std::function, which must be copyable.
using PollHandle = std::shared_ptr<fuse_pollhandle>;

class PollWaker {
 public:
  // Destruction: when the mount has ended, the kernel has woken everybody; nobody wakes any more.
  // `file`: the inode, and the handle's id in its device.
  void wake(std::pair<uint64_t, uint64_t> file, PollHandle handle) PMEMD_EXCLUDES(mutex_);

 private:
  using Noted = std::map<std::pair<uint64_t, uint64_t>, PollHandle>;

  void wake_noted() PMEMD_EXCLUDES(mutex_);

  Mutex mutex_;
  Noted noted_ PMEMD_GUARDED_BY(mutex_);
  Worker worker_{"poll-waker"};
};

}  // namespace pmemd
