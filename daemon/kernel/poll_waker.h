// Tells the kernel that poll(2) on a file has something to report (FUSE_NOTIFY_POLL).
//
// A thread of its own, so that who has an event for a thousand files is done when they are noted,
// and so that no wakeup waits behind the notifier's flushes and invals. The kernel only wakes its
// sleepers upon it, and wants nothing of us before it returns. At most one wakeup is noted for each
// open file: a later one means the same.
//
// Thread contract: any thread.
// Models: fs/fuse/file.c fuse_notify_poll_wakeup() @v6.12 is what it calls.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "core/base/mutex.h"

struct fuse_pollhandle;

namespace pmemd {

// shared: a wakeup is a std::function, which wants to be copied.
using PollHandle = std::shared_ptr<fuse_pollhandle>;

class PollWaker {
 public:
  PollWaker();
  // Ends the thread. What is noted still is dropped: with the mount the kernel wakes everybody.
  ~PollWaker();
  PollWaker(const PollWaker&) = delete;
  PollWaker& operator=(const PollWaker&) = delete;

  // `file`: the inode, and the handle as its device counts it.
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
