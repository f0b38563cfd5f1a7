// getattr, setattr.
#include "core/base/memory.h"
#include "core/filesystem/acl.h"
#include "core/filesystem/change.h"
#include "core/filesystem/space.h"
#include "core/filesystem/state.h"

namespace pmemd {
namespace {

// The access ACL, where there is one, follows the mode.
Result<void> chmod_stored_acl(FsState& fs, const InodeRow& row) {
  if (S_ISLNK(row.mode)) return {};
  PMEMD_ASSIGN(const auto value, fs.rows.xattr(row.ino, kAclAccessName));
  if (!value) return {};
  PMEMD_ASSIGN(Acl acl, parse_acl(*value));
  chmod_acl(acl, row.mode);
  return fs.rows.put_xattr(row.ino, kAclAccessName, encode_acl(acl));
}

}  // namespace

Result<Attr> FileSystem::getattr(uint64_t ino) {
  return state_->with_inode(ino, [](Inode& inode) -> Result<Attr> { return to_attr(inode); });
}

Result<Attr> FileSystem::setattr(uint64_t ino, const SetAttr& wanted) {
  FsState& fs = *state_;
  FreedSpace freed(fs);
  MutexLock lock(fs.change_mutex);
  PMEMD_TRY(fs.load(ino));
  if (wanted.size) PMEMD_TRY(prepare_size(fs, ino, *wanted.size));
  uint64_t old_size = 0;
  {
    Transaction transaction(fs.db);
    PMEMD_TRY(transaction.begin());
    Change change(fs, freed);
    PMEMD_ASSIGN(InodeRow * row, change.open(ino));
    old_size = row->size;
    row->ctime = change.now();
    if (wanted.uid) row->uid = *wanted.uid;
    if (wanted.gid) row->gid = *wanted.gid;
    if (wanted.mode) {
      row->set_permissions(*wanted.mode);
      PMEMD_TRY(chmod_stored_acl(fs, *row));
    }
    if (wanted.size) PMEMD_TRY(change_size(fs, change, *row, *wanted.size));
    if (wanted.atime) row->atime = to_nanoseconds(*wanted.atime);
    if (wanted.mtime) row->mtime = to_nanoseconds(*wanted.mtime);
    if (wanted.ctime) row->ctime = to_nanoseconds(*wanted.ctime);
    PMEMD_TRY(change.commit(transaction));
  }
  const MustAllocate committed;
  if (wanted.size && *wanted.size < old_size) {
    PMEMD_TRY(zero_mapped(fs, ino, {*wanted.size, align_up(*wanted.size, kPageSize)}));
  }
  MutexLock memory(fs.mutex);
  return to_attr(fs.inodes.at(ino));
}

}  // namespace pmemd
