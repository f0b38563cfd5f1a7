// The directory to mount on: checks that it is safe and usable, and that no dead mount or files are
// in the way.
//
// Thread contract: no shared state; not from threads that serve requests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/error.h"
#include "core/base/mount_table.h"
#include "core/base/safe_path.h"
#include "core/base/unique_fd.h"

namespace pmemd {

// Identifies the topmost mount that a lookup of the name finds. Mounting over it, or unmounting it,
// changes the name's meaning, but not this id.
struct MountId {
  uint64_t id = 0;  // may be reused, but not together with the super block's number
  dev_t device_number = 0;

  bool operator==(const MountId&) const = default;
};

class MountPoint {
 public:
  enum class Files { kNone, kMayBeHidden };  // that may be in the directory

  // Resolves `path`. EPERM: somebody else could change it, or the path to it
  // (core/base/safe_path.h). EINVAL: the root directory, or the pool lies below it. Others as
  // make_ready().
  static Result<MountPoint> find(const std::string& path, const std::string& pool,
                                 Files files = Files::kNone);

  // Unmounts a mount that a killed pmemd left (its connection is dead). ENOENT, ENOTDIR; EPERM: the
  // directory, or what is mounted there, is somebody else's; EBUSY: a live mount of pmemd is there
  // (message: its pid, if it can be known). With Files::kNone: ENOTEMPTY: there is something in the
  // directory; EACCES: it can't be read, so we can't tell.
  Result<void> make_ready() const;

  // A lock that pmemds with a mount point in the same directory hold from a look at the mounts
  // until they have acted on it; held while the descriptor is open. It is on that directory,
  // because the mount covers the mount point. Every user who may read that directory could hold it;
  // so we wait at most some seconds for it, and check the result afterwards. Nothing: we didn't get
  // it.
  UniqueFd lock() const;

  // O_PATH; errno.
  UniqueFd open() const;
  std::optional<MountId> topmost() const;
  // Unmounts the topmost mount there, if it is `mount`; lazily if it is in use. As root by
  // umount2(2), else by fusermount3, both of which take only paths: the lock keeps other pmemds
  // out, but if somebody else mounts there within these microseconds, that mount is taken instead.
  // (/proc/self/fd/N leads to the topmost mount, too; Linux 6.18.) ESTALE: something else is on
  // top.
  Result<void> unmount(const MountId& mount) const;

  const std::string& path() const { return path_; }  // absolute, resolved
  const SafeEntry& entry() const { return entry_; }

 private:
  MountPoint(SafeEntry entry, Files files)
      : entry_(std::move(entry)), path_(entry_.path()), files_(files) {}

  Result<void> check_empty(const UniqueFd& directory) const;

  SafeEntry entry_;
  std::string path_;
  Files files_;
};

// The mount of a descriptor; doesn't ask the file system.
std::optional<MountId> mount_of(const UniqueFd& fd);

// The error, with its pid, for a mount point where a pmemd is mounted.
std::unexpected<Error> mount_point_taken(const std::string& path, const MountInfo& by);

}  // namespace pmemd
