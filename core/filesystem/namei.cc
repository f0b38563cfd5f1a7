// Names: lookup, link, unlink, rmdir, readlink, readdir. (rename.cc, create.cc: the rest.)
#include "core/filesystem/namei.h"

#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/filesystem/change.h"
#include "core/filesystem/state.h"

namespace pmemd {
namespace {

// readdir's own cookies: after `.` and `..`; an entry's is its row's, shifted up past these.
constexpr uint64_t kBehindDot = 1;
constexpr uint64_t kBehindDotDot = 2;
// The rest of a batch when a reply is full is read again.
constexpr uint64_t kReaddirBatch = 64;

const DirentRow* dirent_of(const DirentRow& row) { return &row; }
const DirentRow* dirent_of(const EntryRow& row) { return &row.entry; }

// Calls `take` for the entries after `cookie`, until it returns false; `fetch(from)` reads a few at
// a time. A row is a DirentRow or an EntryRow.
template <class Fetch, class Take>
Result<void> for_each_behind(FsState& fs, uint64_t dir, uint64_t cookie, Atime atime, Fetch fetch,
                             Take take) {
  PMEMD_ASSIGN(const InodeRow row, fs.with_inode(dir, [&](Inode& inode) -> Result<InodeRow> {
    if (!inode.row.is_directory()) return fail(ENOTDIR);
    if (atime == Atime::kTouch) inode.touch_atime(fs.now());
    return inode.row;
  }));
  using Row = typename std::invoke_result_t<Fetch&, uint64_t>::value_type::value_type;
  const auto take_dot = [&](const char* name, uint64_t ino, uint64_t next) {
    Row dot = {};
    if (cookie >= next) return true;
    cookie = next;
    return take(DirEntry{name, ino, S_IFDIR, next}, dot);
  };
  if (!take_dot(".", dir, kBehindDot) || !take_dot("..", row.parent, kBehindDotDot)) return {};
  for (;;) {
    PMEMD_ASSIGN(const std::vector<Row> batch, fetch(cookie - kBehindDotDot));
    for (const Row& found : batch) {
      const DirentRow& entry = *dirent_of(found);
      cookie = entry.cookie + kBehindDotDot;
      if (!take(DirEntry{entry.name, entry.ino, entry.type, cookie}, found)) return {};
    }
    if (batch.size() < kReaddirBatch) return {};
  }
}

// The entry of a name to be removed.
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
  if (name == ".") return getattr(parent);
  FsState& fs = *state_;
  PMEMD_ASSIGN(const InodeRow dir,
               fs.with_inode(parent, [](Inode& inode) -> Result<InodeRow> { return inode.row; }));
  if (!dir.is_directory()) return fail(ENOTDIR);
  if (name == "..") return getattr(dir.parent);
  std::optional<EntryRow> found;
  {
    MutexLock lock(fs.db.mutex());
    PMEMD_ASSIGN(found, fs.rows.entry(parent, name));
  }
  if (!found) return fail(ENOENT);
  return fs.attr_of(found->inode, found->mapped_bytes);
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
  return change_metadata(fs, [&](Change& change) -> Result<void> {
    PMEMD_ASSIGN(InodeRow * dir, change.open_directory(parent));
    if (is_dot_name(name)) return fail(EISDIR);
    PMEMD_ASSIGN(const DirentRow entry, find_victim(fs, parent, name));
    PMEMD_ASSIGN(InodeRow * victim, change.open(entry.ino));
    if (victim->is_directory()) return fail(EISDIR);
    PMEMD_TRY(fs.rows.remove_dirent(entry.cookie));
    PMEMD_TRY(change.drop_entry(dir));
    dir->touch(change.now());
    PMEMD_TRY(change.drop_link(victim));
    return {};
  });
}

Result<void> FileSystem::rmdir(uint64_t parent, std::string_view name) {
  PMEMD_TRY(check_name(name));
  FsState& fs = *state_;
  return change_metadata(fs, [&](Change& change) -> Result<void> {
    PMEMD_ASSIGN(InodeRow * dir, change.open_directory(parent));
    if (is_dot_name(name)) return fail(name == "." ? EINVAL : ENOTEMPTY);
    PMEMD_ASSIGN(const DirentRow entry, find_victim(fs, parent, name));
    PMEMD_ASSIGN(InodeRow * victim, change.open(entry.ino));
    if (!victim->is_directory()) return fail(ENOTDIR);
    if (victim->size > 0) return fail(ENOTEMPTY);
    PMEMD_TRY(fs.rows.remove_dirent(entry.cookie));
    PMEMD_TRY(change.drop_subdirectory(dir));
    PMEMD_TRY(change.drop_entry(dir));
    dir->touch(change.now());
    PMEMD_TRY(change.drop_link(victim));
    return {};
  });
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
                                 const std::function<bool(const DirEntry&)>& take, Atime atime) {
  FsState& fs = *state_;
  const auto fetch = [&](uint64_t from) {
    MutexLock lock(fs.db.mutex());
    return fs.rows.dirents_behind(dir, from, kReaddirBatch);
  };
  return for_each_behind(fs, dir, cookie, atime, fetch,
                         [&](const DirEntry& entry, const DirentRow&) { return take(entry); });
}

Result<void> FileSystem::readdirplus(uint64_t dir, uint64_t cookie,
                                     const std::function<bool(const DirEntry&, const Attr&)>& take,
                                     Atime atime) {
  FsState& fs = *state_;
  const auto fetch = [&](uint64_t from) {
    MutexLock lock(fs.db.mutex());
    return fs.rows.entries_behind(dir, from, kReaddirBatch);
  };
  return for_each_behind(
      fs, dir, cookie, atime, fetch, [&](const DirEntry& entry, const EntryRow& row) {
        const bool is_dot = row.inode.ino == 0;
        return take(entry, is_dot ? Attr() : fs.attr_of(row.inode, row.mapped_bytes));
      });
}

}  // namespace pmemd
