// The daemon's mount: made, known by what it is rather than by its path, and taken away.
//
// Root mounts by the new mount API, onto the directory that was looked at; others by fusermount3.
// libfuse gets the descriptor of /dev/fuse alone: it would unmount by path, whatever is there.
//
// Invariants:
//  1. Of pmemds that are started together on one mount point, one mounts. The others find its
//  mount:
//     they look, and mount, with MountPoint::lock() held. Where that can't be had (another
//     namespace whose mounts propagate to ours), whoever lies on top of another pmemd goes.
//  2. Nothing that isn't this mount is unmounted, save for a moment: what somebody has mounted over
//     it is put back. The kernel unmounts no mount below another without that.
//  3. Nothing holds the mount busy: no descriptor of ours is in it for longer than a call.
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
  // ENOENT, ENODEV, EACCES: no /dev/fuse for us. EBUSY: another pmemd is mounted there, or has been
  // quicker (message: its pid, if known). EIO: fusermount3 could not mount; it has told why on
  // stderr. Others as MountPoint::make_ready(), and as the kernel says it.
  static Result<Mount> make(const MountPoint& point, const MountOptions& options);

  // The connection, once.
  UniqueFd take_connection() { return std::move(connection_); }
  MountId id() const { return id_; }

  // Lazily when it is in use. What has been mounted over it stays, where root may and its file
  // system lets it be mounted again; its mount is a new one then. Nothing happens when the mount is
  // gone already. EBUSY: it, or another mount of this connection (a bind mount), is still there,
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
