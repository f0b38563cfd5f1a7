// rename, with its two flags.
//
// Models: fs/namei.c vfs_rename(), lock_rename() and fs/ext4/namei.c ext4_rename2() @v6.12; the
// kernel has done most of these checks already, and we trust none of them.
#include <linux/fs.h>

#include <optional>
#include <set>

#include "core/filesystem/change.h"
#include "core/filesystem/namei.h"
#include "core/filesystem/state.h"
#include "core/pool/schema.h"

namespace pmemd {
namespace {

struct Place {
  uint64_t parent = 0;
  std::string_view name;
};

// One rename in progress.
struct Rename {
  FsState& fs;
  Change& change;
  Place from, to;
  unsigned flags;

  InodeRow* from_dir = nullptr;
  InodeRow* to_dir = nullptr;
  DirentRow entry = {};                        // the moved entry
  InodeRow* row = nullptr;                     // its inode
  std::optional<DirentRow> target_entry = {};  // the entry there, if any
  InodeRow* target = nullptr;

  Result<void> open();
  Result<bool> lies_below(uint64_t dir, uint64_t ancestor);
  Result<void> check_loops();
  Result<void> check_target();
  Result<void> move();
  Result<void> replace();
  Result<void> exchange();
  Result<void> reparent(InodeRow* moved, InodeRow* old_dir, InodeRow* new_dir);
};

Result<void> Rename::open() {
  PMEMD_ASSIGN(from_dir, change.open_directory(from.parent));
  PMEMD_ASSIGN(to_dir, change.open_directory(to.parent));
  PMEMD_ASSIGN(auto found, fs.rows.dirent(from.parent, from.name));
  if (!found) return fail(ENOENT);
  entry = *std::move(found);
  PMEMD_ASSIGN(row, change.open(entry.ino));
  PMEMD_ASSIGN(target_entry, fs.rows.dirent(to.parent, to.name));
  if (!target_entry) return {};
  PMEMD_ASSIGN(target, change.open(target_entry->ino));
  return {};
}

Result<bool> Rename::lies_below(uint64_t dir, uint64_t ancestor) {
  const uint64_t root = make_inode_number(fs.options.serial, kRootIndex);
  // In a damaged database the path upwards may be a loop.
  std::set<uint64_t> seen;
  while (dir != ancestor) {
    if (dir == root) return false;
    if (!seen.insert(dir).second) return fail(EIO, "a directory lies below itself");
    PMEMD_ASSIGN(const auto step, fs.rows.inode(dir));
    if (!step) return fail(EIO, "a directory's parent doesn't exist");
    dir = step->parent;
  }
  return true;
}

// A directory can't be moved below itself.
Result<void> Rename::check_loops() {
  if (from.parent == to.parent) return {};
  if (row->is_directory()) {
    PMEMD_ASSIGN(const bool loop, lies_below(to.parent, row->ino));
    if (loop) return fail(EINVAL);
  }
  if ((flags & RENAME_EXCHANGE) != 0 && target->is_directory()) {
    PMEMD_ASSIGN(const bool loop, lies_below(from.parent, target->ino));
    if (loop) return fail(EINVAL);
  }
  return {};
}

Result<void> Rename::check_target() {
  if (row->is_directory() && !target->is_directory()) return fail(ENOTDIR);
  if (!row->is_directory() && target->is_directory()) return fail(EISDIR);
  if (target->is_directory() && target->size > 0) return fail(ENOTEMPTY);
  return {};
}

// A directory that changes its parent moves the link of its `..` to the new one.
Result<void> Rename::reparent(InodeRow* moved, InodeRow* old_dir, InodeRow* new_dir) {
  moved->ctime = change.now();
  if (!moved->is_directory() || old_dir == new_dir) return {};
  moved->parent = new_dir->ino;
  PMEMD_TRY(change.drop_subdirectory(old_dir));
  new_dir->nlink += 1;
  return {};
}

Result<void> Rename::move() {
  if (row->is_directory() && from_dir != to_dir && to_dir->nlink >= kLinkMax) return fail(EMLINK);
  PMEMD_TRY(change.drop_entry(from_dir));
  to_dir->size += 1;
  PMEMD_TRY(reparent(row, from_dir, to_dir));
  return fs.rows.move_dirent(entry.cookie, to.parent, to.name);
}

Result<void> Rename::replace() {
  PMEMD_TRY(change.drop_entry(from_dir));
  if (target->is_directory()) PMEMD_TRY(change.drop_subdirectory(to_dir));
  PMEMD_TRY(reparent(row, from_dir, to_dir));
  PMEMD_TRY(fs.rows.remove_dirent(entry.cookie));
  PMEMD_TRY(fs.rows.retarget_dirent(target_entry->cookie, row->ino, row->mode));
  return change.drop_link(target);
}

Result<void> Rename::exchange() {
  const bool one_way = row->is_directory() != target->is_directory() && from_dir != to_dir;
  const InodeRow* grows = row->is_directory() ? to_dir : from_dir;
  if (one_way && grows->nlink >= kLinkMax) return fail(EMLINK);
  PMEMD_TRY(reparent(row, from_dir, to_dir));
  PMEMD_TRY(reparent(target, to_dir, from_dir));
  PMEMD_TRY(fs.rows.retarget_dirent(entry.cookie, target->ino, target->mode));
  return fs.rows.retarget_dirent(target_entry->cookie, row->ino, row->mode);
}

}  // namespace

Result<void> FileSystem::rename(uint64_t parent, std::string_view name, uint64_t new_parent,
                                std::string_view new_name, unsigned flags) {
  if (flags != 0 && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE) return fail(EINVAL);
  PMEMD_TRY(check_name(name));
  PMEMD_TRY(check_name(new_name));
  if (is_dot_name(name) || is_dot_name(new_name)) {
    return fail((flags & RENAME_NOREPLACE) != 0 ? EEXIST : EBUSY);
  }
  FsState& fs = *state_;
  return change_metadata(fs, [&](Change& change) -> Result<void> {
    Rename rename{fs, change, {parent, name}, {new_parent, new_name}, flags};
    PMEMD_TRY(rename.open());
    if (rename.target != nullptr && flags == RENAME_NOREPLACE) return fail(EEXIST);
    if (rename.target == nullptr && flags == RENAME_EXCHANGE) return fail(ENOENT);
    if (rename.target == rename.row) return {};
    PMEMD_TRY(rename.check_loops());

    rename.from_dir->touch(change.now());
    rename.to_dir->touch(change.now());
    if (flags == RENAME_EXCHANGE) {
      PMEMD_TRY(rename.exchange());
    } else if (rename.target != nullptr) {
      PMEMD_TRY(rename.check_target());
      PMEMD_TRY(rename.replace());
    } else {
      PMEMD_TRY(rename.move());
    }
    return {};
  });
}

}  // namespace pmemd
