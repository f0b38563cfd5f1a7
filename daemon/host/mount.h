// The daemon's mount: making it, identifying it by more than its path, and unmounting it.
//
// Root mounts by the new mount API, onto the directory that was checked; others by fusermount3.
// libfuse gets only the descriptor of /dev/fuse: it would unmount by path, whatever is there.
//
// Invariants:
//  1. Of pmemds that are started together on one mount point, one mounts. The others find its
//     mount: they check, and mount, with MountPoint::lock() held. Where the lock can't work
//     (another namespace whose mounts propagate to ours), the pmemd on top of another one's mount
//     leaves.
//  2. Nothing but this mount is unmounted, except for a moment: what somebody has mounted over it
//     is put back. The kernel unmounts no mount below another in any other way.
//  3. Nothing keeps the mount busy: no descriptor of ours is in it for longer than a call.
//
// Thread contract: one thread that serves no requests.
#pragma once

#include <string>
#include <utility>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "daemon/host/mount_point.h"

namespace pmemd {

struct MountOptions {
  std::string source;  // shown in /proc/mounts
  bool allow_other = false;
};

class Mount {
 public:
  // ENOENT, ENODEV, EACCES: no /dev/fuse for us. EBUSY: another pmemd is mounted there, or was
  // quicker (message: its pid, if known). EIO: fusermount3 could not mount, and wrote why to
  // stderr. Others as MountPoint::make_ready(), and the kernel's.
  static Result<Mount> make(const MountPoint& point, const MountOptions& options);

  // Gives the connection away; call it once.
  UniqueFd take_connection() { return std::move(connection_); }
  MountId id() const { return id_; }

  // Unmounts it, lazily if it is in use. What has been mounted over it stays, if we are root and
  // its file system can be mounted again; it then has a new mount. Does nothing if the mount is
  // already gone. EBUSY: it, or another mount of this connection (a bind mount), is still there,
  // and shows a dead file system from now on (message: where). Errors of umount2(2).
  Result<void> unmount(const MountPoint& point) const;

 private:
  Mount(UniqueFd connection, MountId id, std::string source)
      : connection_(std::move(connection)), id_(id), source_(std::move(source)) {}

  UniqueFd connection_;
  MountId id_;
  std::string source_;
};

}  // namespace pmemd
