#include "core/filesystem/xattr.h"

#include <sys/xattr.h>

#include <algorithm>

#include "core/base/units.h"
#include "core/filesystem/acl.h"
#include "core/filesystem/change.h"
#include "core/filesystem/filesystem.h"
#include "core/filesystem/state.h"
#include "core/pool/columns.h"

namespace pmemd {
namespace {

// Names and values of one inode.
constexpr uint64_t kXattrBytesMax = kMiB;

bool is_acl_name(std::string_view name) {
  return name == kAclAccessName || name == kAclDefaultName;
}

// ERANGE: too long. EOPNOTSUPP: not a namespace that is kept. EINVAL: nothing after the prefix.
Result<void> check_xattr_name(std::string_view name) {
  if (name.empty() || name.size() > kXattrNameMax) return fail(ERANGE);
  if (is_acl_name(name)) return {};
  for (const std::string_view prefix : kXattrPrefixes) {
    if (!name.starts_with(prefix)) continue;
    if (name.size() == prefix.size() || name.find('\0') != name.npos) return fail(EINVAL);
    return {};
  }
  return fail(EOPNOTSUPP);
}

// One setxattr or removexattr in progress.
struct XattrChange {
  FsState& fs;
  Change& change;
  InodeRow& row;

  Result<void> set(std::string_view name, std::string_view value, int flags);
  Result<void> remove_acl(std::string_view name);
  Result<void> set_acl(std::string_view name, const Acl& acl, bool kill_sgid);
};

Result<void> XattrChange::set(std::string_view name, std::string_view value, int flags) {
  if (value.size() > kXattrSizeMax) return fail(E2BIG);
  PMEMD_ASSIGN(const auto old, fs.rows.xattr(row.ino, name));
  if (old && (flags & XATTR_CREATE) != 0) return fail(EEXIST);
  if (!old && (flags & XATTR_REPLACE) != 0) return fail(ENODATA);
  PMEMD_ASSIGN(uint64_t bytes, fs.rows.xattr_bytes(row.ino));
  if (old) bytes -= name.size() + old->size();
  if (bytes + name.size() + value.size() > kXattrBytesMax) return fail(ENOSPC);
  return fs.rows.put_xattr(row.ino, name, value);
}

Result<void> XattrChange::remove_acl(std::string_view name) {
  PMEMD_ASSIGN(const bool removed, fs.rows.erase_xattr(row.ino, name));
  (void)removed;  // removing one that doesn't exist is not an error
  if (name == kAclDefaultName && row.is_directory()) change.set_default_acl(row.ino, {});
  return {};
}

Result<void> XattrChange::set_acl(std::string_view name, const Acl& acl, bool kill_sgid) {
  if (S_ISLNK(row.mode)) return fail(EOPNOTSUPP);
  if (name == kAclDefaultName) {
    if (acl.empty()) return remove_acl(name);
    if (!row.is_directory()) return fail(EACCES);
    change.set_default_acl(row.ino, encode_acl(acl));
    return set(name, encode_acl(acl), 0);
  }
  if (!acl.empty()) {
    row.set_permissions((row.mode & ~ACCESSPERMS) | acl_mode(acl));
    if (kill_sgid) row.mode &= ~mode_t{S_ISGID};
  }
  if (acl_is_only_mode(acl)) return remove_acl(name);
  return set(name, encode_acl(acl), 0);
}

}  // namespace

Result<std::string> Xattrs::get(uint64_t ino, std::string_view name) {
  PMEMD_TRY(check_xattr_name(name));
  PMEMD_TRY(fs_.getattr(ino));
  FsState& fs = *fs_.state_;
  MutexLock lock(fs.db.mutex());
  PMEMD_ASSIGN(auto value, fs.rows.xattr(ino, name));
  if (!value) return fail(ENODATA);
  return *std::move(value);
}

Result<std::vector<std::string>> Xattrs::list(uint64_t ino) {
  PMEMD_TRY(fs_.getattr(ino));
  FsState& fs = *fs_.state_;
  MutexLock lock(fs.db.mutex());
  return fs.rows.xattr_names(ino);
}

Result<void> Xattrs::set(uint64_t ino, std::string_view name, std::string_view value, int flags,
                         bool kill_sgid) {
  PMEMD_TRY(check_xattr_name(name));
  FsState& fs = *fs_.state_;
  return change_metadata(fs, [&](Change& change) -> Result<void> {
    PMEMD_ASSIGN(InodeRow * row, change.open(ino));
    row->ctime = change.now();
    XattrChange xattr{fs, change, *row};
    if (is_acl_name(name)) {
      PMEMD_ASSIGN(const Acl acl, parse_acl(value));
      PMEMD_TRY(xattr.set_acl(name, acl, kill_sgid));
    } else {
      PMEMD_TRY(xattr.set(name, value, flags));
    }
    return {};
  });
}

Result<void> Xattrs::remove(uint64_t ino, std::string_view name) {
  PMEMD_TRY(check_xattr_name(name));
  FsState& fs = *fs_.state_;
  return change_metadata(fs, [&](Change& change) -> Result<void> {
    PMEMD_ASSIGN(InodeRow * row, change.open(ino));
    row->ctime = change.now();
    if (is_acl_name(name)) {
      PMEMD_TRY((XattrChange{fs, change, *row}.remove_acl(name)));
    } else {
      PMEMD_ASSIGN(const bool removed, fs.rows.erase_xattr(ino, name));
      if (!removed) return fail(ENODATA);
    }
    return {};
  });
}

}  // namespace pmemd
