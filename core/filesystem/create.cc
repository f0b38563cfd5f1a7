// Making inodes: mknod, mkdir, symlink, tmpfile.
#include <optional>

#include "core/filesystem/acl.h"
#include "core/filesystem/change.h"
#include "core/filesystem/namei.h"
#include "core/filesystem/state.h"

namespace pmemd {
namespace {

struct NewInode {
  std::optional<std::string_view> name;  // none: no entry, no link
  mode_t mode = 0;
  dev_t rdev = 0;
  std::string_view target;
};

// Owner, group and mode follow the directory's rules; inherit() writes the ACLs.
InodeRow new_row(const InodeRow& parent, const NewInode& wanted, const Caller& caller,
                 int64_t now) {
  InodeRow row;
  row.mode = wanted.mode;
  row.uid = caller.uid;
  row.gid = caller.gid;
  row.rdev = wanted.rdev;
  row.size = wanted.target.size();
  row.nlink = S_ISDIR(wanted.mode) ? 2 : 1;
  if (!wanted.name) row.nlink = 0;
  if ((parent.mode & S_ISGID) != 0) {
    row.gid = parent.gid;
    if (row.is_directory()) row.mode |= S_ISGID;
  }
  if (row.is_directory()) row.parent = parent.ino;
  row.atime = row.mtime = row.ctime = row.btime = now;
  return row;
}

// The directory's default ACL replaces the umask.
Result<void> inherit(FsState& fs, Change& change, uint64_t parent, mode_t umask, InodeRow& row) {
  if (S_ISLNK(row.mode)) return {};
  PMEMD_ASSIGN(const std::string value, change.default_acl(parent));
  if (value.empty()) {
    row.mode &= ~(umask & 0777);
    return {};
  }
  PMEMD_ASSIGN(const Acl acl, parse_acl(value));
  const InheritedAcl inherited = inherit_acl(acl, row.mode);
  row.mode = inherited.mode;
  if (inherited.access) {
    PMEMD_TRY(fs.rows.put_xattr(row.ino, kAclAccessName, encode_acl(*inherited.access)));
  }
  if (row.is_directory()) PMEMD_TRY(fs.rows.put_xattr(row.ino, kAclDefaultName, value));
  return {};
}

Result<Attr> create(FsState& fs, uint64_t parent, const NewInode& wanted, const Caller& caller) {
  InodeRow row;
  auto created = change_metadata(fs, [&](Change& change) -> Result<void> {
    PMEMD_ASSIGN(InodeRow * dir, change.open_directory(parent));
    row = new_row(*dir, wanted, caller, change.now());
    PMEMD_ASSIGN(row.ino, change.new_inode_number());
    PMEMD_TRY(inherit(fs, change, parent, caller.umask, row));
    PMEMD_TRY(change.create(row, wanted.target));
    if (wanted.name) {
      PMEMD_TRY(fs.rows.insert_dirent(parent, *wanted.name, row));
      if (row.is_directory() && dir->nlink >= kLinkMax) return fail(EMLINK);
      dir->nlink += row.is_directory() ? 1 : 0;
      dir->size += 1;
      dir->touch(change.now());
    }
    return {};
  });
  PMEMD_TRY(std::move(created));
  return to_attr(row, 0);
}

}  // namespace

Result<Attr> FileSystem::mknod(uint64_t parent, std::string_view name, mode_t mode, dev_t rdev,
                               const Caller& caller) {
  PMEMD_TRY(check_new_name(name));
  if ((mode & S_IFMT) == 0) mode |= S_IFREG;
  if (S_ISDIR(mode)) return fail(EPERM);
  if (S_ISLNK(mode)) return fail(EINVAL);
  const bool is_device = S_ISCHR(mode) || S_ISBLK(mode);
  return create(*state_, parent, {name, mode, is_device ? rdev : 0, {}}, caller);
}

Result<Attr> FileSystem::mkdir(uint64_t parent, std::string_view name, mode_t mode,
                               const Caller& caller) {
  PMEMD_TRY(check_new_name(name));
  return create(*state_, parent, {name, S_IFDIR | (mode & 07777), 0, {}}, caller);
}

Result<Attr> FileSystem::symlink(uint64_t parent, std::string_view name, std::string_view target,
                                 const Caller& caller) {
  PMEMD_TRY(check_new_name(name));
  if (target.empty()) return fail(ENOENT);
  if (target.size() > kSymlinkTargetMax) return fail(ENAMETOOLONG);
  return create(*state_, parent, {name, S_IFLNK | 0777, 0, target}, caller);
}

Result<Attr> FileSystem::tmpfile(uint64_t parent, mode_t mode, const Caller& caller) {
  return create(*state_, parent, {std::nullopt, S_IFREG | (mode & 07777), 0, {}}, caller);
}

}  // namespace pmemd
