// Names: lookup, link, unlink, rmdir, readlink, readdir. (rename.cc, create.cc: the rest.)
#include "core/filesystem/namei.h"

#include <utility>

#include "core/filesystem/change.h"
#include "core/filesystem/state.h"

namespace pmemd {
namespace {

// readdir's own cookies: behind `.` and `..`; an entry's is its row's, moved up behind these.
constexpr uint64_t kBehindDot = 1;
constexpr uint64_t kBehindDotDot = 2;
constexpr uint64_t kReaddirBatch = 256;

Result<uint64_t> find(FsState& fs, uint64_t parent, std::string_view name) {
  if (name == ".") return parent;
  PMEMD_ASSIGN(const InodeRow dir,
               fs.with_inode(parent, [](Inode& inode) -> Result<InodeRow> { return inode.row; }));
  if (!dir.is_directory()) return fail(ENOTDIR);
  if (name == "..") return dir.parent;
  MutexLock lock(fs.db.mutex());
  PMEMD_ASSIGN(const auto entry, fs.rows.dirent(parent, name));
  if (!entry) return fail(ENOENT);
  return entry->ino;
}

// The entry of a name that is to go.
Result<DirentRow> find_victim(FsState& fs, uint64_t parent, std::string_view name) {
  PMEMD_ASSIGN(auto entry, fs.rows.dirent(parent, name));
  if (!entry) return fail(ENOENT);
  return *std::move(entry);
}

}  // namespace

Result<void> check_name(std::string_view name) {
  if (name.empty()) return fail(ENOENT);
  if (name.size() > kNameMax) return fail(ENAMETOOLONG);
  if (name.find('/') != name.npos || name.find('\0') != name.npos) return fail(EINVAL);
  return {};
}

Result<void> check_new_name(std::string_view name) {
  if (is_dot_name(name)) return fail(EEXIST);
  return check_name(name);
}

Result<Attr> FileSystem::lookup(uint64_t parent, std::string_view name) {
  PMEMD_TRY(check_name(name));
  PMEMD_ASSIGN(const uint64_t ino, find(*state_, parent, name));
  return getattr(ino);
}

Result<Attr> FileSystem::link(uint64_t ino, uint64_t parent, std::string_view name) {
  PMEMD_TRY(check_new_name(name));
  FsState& fs = *state_;
  FreedSpace freed(fs);
  MutexLock lock(fs.change_mutex);
  Transaction transaction(fs.db);
  PMEMD_TRY(transaction.begin());
  Change change(fs, freed);
  PMEMD_ASSIGN(InodeRow * row, change.open(ino));
  PMEMD_ASSIGN(InodeRow * dir, change.open_directory(parent));
  if (row->is_directory()) return fail(EPERM);
  PMEMD_TRY(fs.rows.insert_dirent(parent, name, *row));
  if (row->nlink >= kLinkMax) return fail(EMLINK);
  row->nlink += 1;
  row->ctime = change.now();
  dir->size += 1;
  dir->touch(change.now());
  PMEMD_TRY(change.commit(transaction));
  MutexLock memory(fs.mutex);
  return to_attr(fs.inodes.at(ino));
}

Result<void> FileSystem::unlink(uint64_t parent, std::string_view name) {
  PMEMD_TRY(check_name(name));
  FsState& fs = *state_;
  FreedSpace freed(fs);
  MutexLock lock(fs.change_mutex);
  Transaction transaction(fs.db);
  PMEMD_TRY(transaction.begin());
  Change change(fs, freed);
  PMEMD_ASSIGN(InodeRow * dir, change.open_directory(parent));
  if (is_dot_name(name)) return fail(EISDIR);
  PMEMD_ASSIGN(const DirentRow entry, find_victim(fs, parent, name));
  PMEMD_ASSIGN(InodeRow * victim, change.open(entry.ino));
  if (victim->is_directory()) return fail(EISDIR);
  PMEMD_TRY(fs.rows.remove_dirent(entry.cookie));
  dir->size -= 1;
  dir->touch(change.now());
  PMEMD_TRY(change.drop_link(victim));
  return change.commit(transaction);
}

Result<void> FileSystem::rmdir(uint64_t parent, std::string_view name) {
  PMEMD_TRY(check_name(name));
  FsState& fs = *state_;
  FreedSpace freed(fs);
  MutexLock lock(fs.change_mutex);
  Transaction transaction(fs.db);
  PMEMD_TRY(transaction.begin());
  Change change(fs, freed);
  PMEMD_ASSIGN(InodeRow * dir, change.open_directory(parent));
  if (is_dot_name(name)) return fail(name == "." ? EINVAL : ENOTEMPTY);
  PMEMD_ASSIGN(const DirentRow entry, find_victim(fs, parent, name));
  PMEMD_ASSIGN(InodeRow * victim, change.open(entry.ino));
  if (!victim->is_directory()) return fail(ENOTDIR);
  if (victim->size > 0) return fail(ENOTEMPTY);
  PMEMD_TRY(fs.rows.remove_dirent(entry.cookie));
  dir->nlink -= 1;
  dir->size -= 1;
  dir->touch(change.now());
  PMEMD_TRY(change.drop_link(victim));
  return change.commit(transaction);
}

Result<std::string> FileSystem::readlink(uint64_t ino) {
  FsState& fs = *state_;
  PMEMD_TRY(fs.with_inode(ino, [&fs](Inode& inode) -> Result<void> {
    if (!S_ISLNK(inode.row.mode)) return fail(EINVAL);
    inode.touch_atime(fs.now());
    return {};
  }));
  MutexLock lock(fs.db.mutex());
  return fs.rows.target(ino);
}

Result<void> FileSystem::readdir(uint64_t dir, uint64_t cookie,
                                 const std::function<bool(const DirEntry&)>& take) {
  FsState& fs = *state_;
  PMEMD_ASSIGN(const InodeRow row, fs.with_inode(dir, [&fs](Inode& inode) -> Result<InodeRow> {
    if (!inode.row.is_directory()) return fail(ENOTDIR);
    inode.touch_atime(fs.now());
    return inode.row;
  }));
  if (cookie < kBehindDot) {
    if (!take({".", dir, S_IFDIR, kBehindDot})) return {};
    cookie = kBehindDot;
  }
  if (cookie < kBehindDotDot) {
    if (!take({"..", row.parent, S_IFDIR, kBehindDotDot})) return {};
    cookie = kBehindDotDot;
  }
  for (;;) {
    std::vector<DirentRow> batch;
    {
      MutexLock lock(fs.db.mutex());
      PMEMD_ASSIGN(batch, fs.rows.dirents_behind(dir, cookie - kBehindDotDot, kReaddirBatch));
    }
    for (DirentRow& entry : batch) {
      cookie = entry.cookie + kBehindDotDot;
      if (!take({std::move(entry.name), entry.ino, entry.type, cookie})) return {};
    }
    if (batch.size() < kReaddirBatch) return {};
  }
}

}  // namespace pmemd
