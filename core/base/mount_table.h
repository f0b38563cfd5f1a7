// The mounts of this process's mount namespace, from /proc/self/mountinfo.
//
// Asks no file system, so that a dead or hostile one can't block the caller.
//
// Thread contract: no shared state.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pmemd {

struct MountInfo {
  uint64_t id = 0;  // reused when the mount is gone
  uint64_t parent_id = 0;
  dev_t device_number = 0;  // of the super block; reused when that is gone
  std::string root =
      {};  // the part of its file system shown there: "/", or "/dir" for a bind mount
  std::string point = {};
  std::string type = {};  // "fuse.pmemd"
  std::string source = {};
  std::string options = {};  // of the super block
};

// In the kernel's order. Of several mounts on one point, each covers the one before it.
std::vector<MountInfo> read_mount_table();

// Parses a line of mountinfo; nothing if it isn't one.
std::optional<MountInfo> parse_mount(const std::string& line);

const MountInfo* find_mount_id(const std::vector<MountInfo>& table, uint64_t id);

// A mount's value of "user_id=": the user who mounted a FUSE file system, and serves it. Nothing
// for other file systems.
std::optional<uid_t> fuse_owner(const MountInfo& mount);

}  // namespace pmemd
