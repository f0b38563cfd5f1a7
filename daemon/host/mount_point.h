// The directory that the mount goes onto: is it safe and fit, is a dead mount in the way, are
// files.
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

// The mount that a look-up of its name finds, the topmost one. Whoever mounts over it, or takes it
// away, changes the name's meaning, but not this.
struct MountId {
  uint64_t id = 0;  // used again; but not together with the super block's number
  dev_t device_number = 0;

  bool operator==(const MountId&) const = default;
};

class MountPoint {
 public:
  enum class Files { kNone, kMayBeHidden };  // that may be in the directory

  // Resolves `path`. EPERM: somebody else could change the way to it, or it
  // (core/base/safe_path.h). EINVAL: the root directory, or the pool lies below it. Else as
  // make_ready().
  static Result<MountPoint> find(const std::string& path, const std::string& pool,
                                 Files files = Files::kNone);

  // A mount that a killed pmemd left (its connection is dead) is taken away. ENOENT, ENOTDIR;
  // EPERM: the directory, or what is mounted there, is somebody else's; EBUSY: a live mount of
  // pmemd is there (message: its pid, if it can be known). Files::kNone: ENOTEMPTY: there is
  // something in the directory; EACCES: it can't be read, so that nobody knows.
  Result<void> make_ready() const;

  // Between a look at the mounts and what is done about them, pmemds with a mount point in the same
  // directory wait for each other: holds while the descriptor is open. A lock of that directory, as
  // a mount point is covered by the mount. Whoever may read that directory could hold it; so it is
  // not waited for longer than some seconds, and what was done is looked at again afterwards.
  // Nothing: not had.
  UniqueFd lock() const;

  // O_PATH; errno.
  UniqueFd open() const;
  std::optional<MountId> topmost() const;
  // The topmost mount there, if it is `mount`. As root by umount2(2), else by fusermount3, both of
  // which know paths alone: the lock keeps other pmemds out, but a mount that somebody else puts
  // there within these microseconds is taken instead. (/proc/self/fd/N is followed to the topmost
  // mount, too; Linux 6.18.) Lazily when it is in use. ESTALE: something else is on top.
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

// What a descriptor's mount is; the file system isn't asked.
std::optional<MountId> mount_of(const UniqueFd& fd);

// The error for a mount point where a pmemd is mounted: with its pid.
std::unexpected<Error> mount_point_taken(const std::string& path, const MountInfo& by);

}  // namespace pmemd
