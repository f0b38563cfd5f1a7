// The one thread that talks to the kernel about the mount: ranged invals, bulk flushes.
//
// The kernel may complete a notification only after we have served requests (an inval waits for
// pages whose READ is in flight; a flush sends WRITEs), so threads that serve requests never send
// one, and no lock is held across one. Callers wait with a deadline.
//
// Thread contract: flush(), inval(), hide(), show(), holders() from any thread but those that
// serve requests and the notifier itself. is_own_thread() from any thread; open_inode() from those
// whose opens the daemon always admits.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>

#include "core/base/mutex.h"
#include "core/base/unique_fd.h"
#include "core/base/worker.h"
#include "core/removal/kernel_port.h"

struct fuse_session;

namespace pmemd {

class KernelNotifier : public KernelPort {
 public:
  // `device_number`: the mount's st_dev.
  KernelNotifier(fuse_session* session, std::string mount_point, dev_t device_number);

  Result<void> flush(uint64_t ino, FileRange range) override;
  Result<void> inval(uint64_t ino, FileRange range) override;
  void hide(const Device& device) override;
  void show(const Device& device) override;
  std::vector<Holder> holders(const std::vector<const Device*>& devices) const override;

  // Opens the inode in the mount for reading: by handle if we may (root), else by `path` (from the
  // mount's root) or by a path that we have seen a mapper use. On failure empty, with errno:
  // ESTALE, ENOENT: it is gone; EPERM: no path is known; EWOULDBLOCK: somebody has a lease on it,
  // which is now being broken. Never waits for a lease. Only from threads whose opens are always
  // admitted.
  UniqueFd open_inode(uint64_t ino, const std::string& path = {}) PMEMD_EXCLUDES(mutex_);

  // This thread makes the daemon's own opens for a flush; they are always admitted, and never
  // counted.
  bool is_own_thread(pid_t tid) const { return worker_.is_own_thread(tid); }

 private:
  // Runs `work` in the thread and waits for it. ETIMEDOUT: it goes on without us.
  Result<void> call(std::function<Result<void>()> work);
  Result<void> flush_in_thread(uint64_t ino, FileRange range);
  // Flushes all files, if one can't be opened.
  Result<void> flush_mount() const;

  fuse_session* const session_;
  const std::string mount_point_;
  const dev_t device_number_;
  mutable Mutex mutex_;
  // Paths that the last walk of /proc saw; open_inode() uses them.
  mutable std::map<uint64_t, std::string> paths_ PMEMD_GUARDED_BY(mutex_);
  Worker worker_{"notifier"};  // last: it uses the others
};

}  // namespace pmemd
