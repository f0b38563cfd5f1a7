// The directory that the mount goes onto: is it fit, is a dead mount in the way, how to unmount.
//
// Thread contract: no state; not from threads that serve requests.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "core/base/error.h"

namespace pmemd {

struct MountInfo {
  dev_t device_number = 0;
  std::string type;     // "fuse.pmemd"
  std::string options;  // of the super block
};

// The topmost mount on `path` (absolute, resolved), from /proc/self/mountinfo; asks no file system.
std::optional<MountInfo> find_mount(const std::string& path);

// Resolves `path` and makes it ready: a mount that a killed pmemd left (its connection is dead) is
// taken away. ENOENT, ENOTDIR; EBUSY: a live mount of pmemd is there; EINVAL: the pool lies below
// it.
Result<std::string> prepare_mount_point(const std::string& path, const std::string& pool);

// As root by umount2(2), else by fusermount3. Lazily when it is in use.
Result<void> unmount_path(const std::string& path);

}  // namespace pmemd
