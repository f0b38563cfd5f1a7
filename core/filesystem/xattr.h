// The extended attributes of a file system's inodes, among them POSIX ACLs.
//
// Thread contract: as FileSystem, which must outlive it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"

namespace pmemd {

class FileSystem;

// The kernel's POSIX ACL xattrs come through here: system.posix_acl_access follows the mode and the
// mode follows it, as in ext4. ESTALE: no such inode. ENODATA, EEXIST, ERANGE, E2BIG, ENOSPC,
// EOPNOTSUPP.
class Xattrs {
 public:
  explicit Xattrs(FileSystem& fs) : fs_(fs) {}

  Result<std::string> get(uint64_t ino, std::string_view name);
  // flags: 0, XATTR_CREATE, XATTR_REPLACE. kill_sgid: clear S_ISGID with an ACL change.
  Result<void> set(uint64_t ino, std::string_view name, std::string_view value, int flags,
                   bool kill_sgid);
  Result<std::vector<std::string>> list(uint64_t ino);
  Result<void> remove(uint64_t ino, std::string_view name);

 private:
  FileSystem& fs_;
};

}  // namespace pmemd
