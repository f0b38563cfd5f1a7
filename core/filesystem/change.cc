#include "core/filesystem/change.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "core/base/memory.h"
#include "core/filesystem/acl.h"
#include "core/pool/columns.h"
#include "core/pool/schema.h"

namespace pmemd {
namespace {

// How many are reserved at a time; those left at the end are never used.
constexpr uint64_t kIndexBatch = 4096;

}  // namespace

Result<InodeRow*> Change::open(uint64_t ino) {
  for (Edit& edit : edits_) {
    if (edit.row.ino == ino) return &edit.row;
  }
  PMEMD_TRY(fs_.load_locked(ino));
  MutexLock lock(fs_.mutex);
  const InodeRow& row = fs_.inodes.at(ino).row;
  edits_.push_back({row, row});
  return &edits_.back().row;
}

Result<InodeRow*> Change::open_directory(uint64_t ino) {
  PMEMD_ASSIGN(InodeRow * row, open(ino));
  if (!row->is_directory()) return fail(ENOTDIR);
  if (row->nlink == 0) return fail(ENOENT);
  return row;
}

Result<uint64_t> Change::new_inode_number() {
  if (fs_.next_index >= fs_.end_index) {
    PMEMD_ASSIGN(fs_.next_index, fs_.rows.reserve_indices(kIndexBatch));
    end_index_ = fs_.next_index + kIndexBatch;
  }
  return make_inode_number(fs_.options.serial, fs_.next_index++);
}

Result<void> Change::create(const InodeRow& row, std::string_view target) {
  PMEMD_TRY(fs_.rows.insert_inode(row, target));
  created_.push_back(row);
  return {};
}

Result<void> Change::remap(uint64_t ino, ExtentMap::Plan plan) {
  freed_.expect(plan.freed.size());
  for (const uint64_t offset : plan.erase) PMEMD_TRY(fs_.rows.erase_extent(ino, offset));
  for (const Extent& extent : plan.put) PMEMD_TRY(fs_.rows.put_extent(ino, extent));
  remapped_.emplace_back(ino, std::move(plan));
  return {};
}

Result<void> Change::remove(uint64_t ino) {
  {
    MutexLock lock(fs_.mutex);
    freed_.expect(fs_.inodes.at(ino).extents.count());
  }
  PMEMD_TRY(fs_.rows.remove_inode(ino));
  std::erase_if(edits_, [ino](const Edit& edit) { return edit.row.ino == ino; });
  removed_.push_back(ino);
  return {};
}

Result<void> Change::drop_entry(InodeRow* dir) {
  if (dir->size == 0) {
    return fail(EIO, fmt::format("pool.db: inode {}: an entry more than it counts", dir->ino),
                kDamagedHint);
  }
  dir->size -= 1;
  return {};
}

Result<void> Change::drop_subdirectory(InodeRow* dir) {
  if (dir->nlink <= 2) {
    return fail(EIO, fmt::format("pool.db: inode {}: a directory more than it counts", dir->ino),
                kDamagedHint);
  }
  dir->nlink -= 1;
  return {};
}

Result<void> Change::drop_link(InodeRow* row) {
  if (row->nlink == 0) {
    return fail(EIO, fmt::format("pool.db: inode {}: an entry more than it has links", row->ino),
                kDamagedHint);
  }
  row->nlink = row->is_directory() ? 0 : row->nlink - 1;
  row->ctime = now_;
  if (row->nlink > 0 || fs_.lookups.is_known(row->ino)) return {};
  return remove(row->ino);
}

Result<std::string> Change::default_acl(uint64_t ino) {
  {
    MutexLock lock(fs_.mutex);
    const auto& known = fs_.inodes.at(ino).default_acl;
    if (known) return *known;
  }
  PMEMD_ASSIGN(const auto stored, fs_.rows.xattr(ino, kAclDefaultName));
  MutexLock lock(fs_.mutex);
  return fs_.inodes.at(ino).default_acl.emplace(stored.value_or(std::string()));
}

void Change::set_default_acl(uint64_t ino, std::string value) {
  default_acls_.emplace_back(ino, std::move(value));
}

Result<void> Change::commit(Transaction& transaction) {
  for (const Edit& edit : edits_) PMEMD_TRY(fs_.rows.update_inode(edit.row));
  PMEMD_TRY(transaction.commit());
  apply();
  return {};
}

// Large memory was reserved before the commit (FreedSpace::expect()).
void Change::apply() noexcept {
  const MustAllocate committed;
  if (end_index_) fs_.end_index = *end_index_;
  MutexLock lock(fs_.mutex);
  for (const InodeRow& row : created_) fs_.inodes[row.ino].row = row;
  for (const Edit& edit : edits_) apply_edit(edit);
  for (const auto& [ino, plan] : remapped_) {
    fs_.inodes.at(ino).extents.apply(plan);
    freed_.add(plan.freed);
  }
  for (auto& [ino, value] : default_acls_) fs_.inodes.at(ino).default_acl = std::move(value);
  for (const uint64_t ino : removed_) apply_removal(ino);
  if (fs_.inode_count) *fs_.inode_count += created_.size() - removed_.size();
}

// Reads and overwrites stamp the cached row at any time; stamps set since the change copied it stay
// where the change itself set no time.
void Change::apply_edit(const Edit& edit) {
  Inode& inode = fs_.inodes.at(edit.row.ino);
  const InodeRow cached = std::exchange(inode.row, edit.row);
  inode.times_dirty = false;
  for (const auto time : {&InodeRow::atime, &InodeRow::mtime, &InodeRow::ctime}) {
    if (cached.*time != edit.before.*time && edit.row.*time == edit.before.*time) {
      inode.row.*time = cached.*time;
      inode.times_dirty = true;
    }
  }
}

void Change::apply_removal(uint64_t ino) {
  const auto it = fs_.inodes.find(ino);
  for (const Extent& extent : it->second.extents.all()) {
    const DataRange range = extent.data();
    freed_.add({&range, 1});
  }
  fs_.inodes.erase(it);
}

}  // namespace pmemd
