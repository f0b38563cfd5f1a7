// The one thread that talks to the kernel about the mount: ranged invals, bulk flushes.
//
// The kernel may answer a notification only after requests of ours were served (an inval waits for
// pages whose READ is in flight; a flush sends WRITEs), so it never leaves from a thread that
// serves requests, and no lock is held across one. Callers wait with a deadline.
//
// Thread contract: flush(), inval(), hide(), show(), holders() from any thread but those that
// serve requests and the notifier itself. is_own_thread() from any thread; open_inode() from those
// whose opens the daemon lets in.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include "core/base/mutex.h"
#include "core/base/unique_fd.h"
#include "core/removal/kernel_port.h"

struct fuse_session;

namespace pmemd {

class KernelNotifier : public KernelPort {
 public:
  // `device_number`: the mount's st_dev.
  KernelNotifier(fuse_session* session, std::string mount_point, dev_t device_number);
  ~KernelNotifier() override;  // ends the thread; nobody may wait for it

  Result<void> flush(uint64_t ino, FileRange range) override;
  Result<void> inval(uint64_t ino, FileRange range) override;
  void hide(const Device& device) override;
  void show(const Device& device) override;
  std::vector<Holder> holders(const std::vector<const Device*>& devices) const override;

  // A descriptor of the inode in the mount, to read: by handle where we may (root), else by `path`
  // (from the mount's root) or the one that a mapper was seen to know it by. Empty, and errno:
  // ESTALE, ENOENT: it isn't there any more; EPERM: no path is known; EWOULDBLOCK: somebody has a
  // lease on it, which is now being broken. It never waits for one. From threads that are let in.
  UniqueFd open_inode(uint64_t ino, const std::string& path = {}) PMEMD_EXCLUDES(mutex_);

  // The daemon's own opens for a flush come from this thread; they are always let in, and nobody
  // counts them.
  bool is_own_thread(pid_t tid) const { return tid == tid_.load(std::memory_order_relaxed); }

 private:
  // Runs `work` in the thread and waits for it. ETIMEDOUT: it goes on without us.
  Result<void> call(std::function<Result<void>()> work) PMEMD_EXCLUDES(mutex_);
  void run() PMEMD_EXCLUDES(mutex_);
  Result<void> flush_in_thread(uint64_t ino, FileRange range);
  // All files, where one can't be opened.
  Result<void> flush_mount() const;

  fuse_session* const session_;
  const std::string mount_point_;
  const dev_t device_number_;
  std::atomic<pid_t> tid_ = 0;

  mutable Mutex mutex_;
  CondVar work_cv_;
  std::deque<std::function<void()>> queue_ PMEMD_GUARDED_BY(mutex_);
  // As the last walk saw them: what who looks leaves for who opens.
  mutable std::map<uint64_t, std::string> paths_ PMEMD_GUARDED_BY(mutex_);
  bool stop_ PMEMD_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace pmemd
