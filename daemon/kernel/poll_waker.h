// Tells the kernel that poll(2) on a file has something to report (FUSE_NOTIFY_POLL).
//
// It has a thread of its own, so that a caller with an event for a thousand files only notes them,
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
#include <thread>
#include <utility>

#include "core/base/mutex.h"

struct fuse_pollhandle;

namespace pmemd {

// Shared, because a wakeup is a std::function, which must be copyable.
using PollHandle = std::shared_ptr<fuse_pollhandle>;

class PollWaker {
 public:
  PollWaker();
  // Ends the thread and drops the noted wakeups: when the mount ends, the kernel wakes everybody.
  ~PollWaker();
  PollWaker(const PollWaker&) = delete;
  PollWaker& operator=(const PollWaker&) = delete;

  // `file`: the inode, and the handle's id in its device.
  void wake(std::pair<uint64_t, uint64_t> file, PollHandle handle) PMEMD_EXCLUDES(mutex_);

 private:
  using Noted = std::map<std::pair<uint64_t, uint64_t>, PollHandle>;

  void run() PMEMD_EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar work_cv_;
  Noted noted_ PMEMD_GUARDED_BY(mutex_);
  bool stop_ PMEMD_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace pmemd
