#include "core/filesystem/space.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/base/memory.h"
#include "core/base/units.h"

namespace pmemd {
namespace {

// With more ranges than this it isn't worth knowing which: the whole file counts as unsynced.
constexpr uint64_t kUnsyncedRangesMax = 4096;

// Space taken for a file; given back unless it is kept.
class NewSpace {
 public:
  explicit NewSpace(FsState& fs) : fs_(fs) {}
  ~NewSpace() {
    const MustAllocate nobody_else_knows_of_it;
    std::vector<DataRange> ranges;
    ranges.reserve(extents_.size());
    for (const Extent& extent : extents_) ranges.push_back(extent.data());
    fs_.give_back(std::move(ranges), FsState::Origin::kNew);
  }
  NewSpace(const NewSpace&) = delete;
  NewSpace& operator=(const NewSpace&) = delete;

  // Takes space for the holes of `blocks`, and ensures that the host has it. ENOSPC.
  Result<void> take(uint64_t ino, FileRange blocks, bool large) PMEMD_EXCLUDES(fs_.mutex);
  const std::vector<Extent>& extents() const { return extents_; }
  void keep() { extents_.clear(); }

 private:
  FsState& fs_;
  std::vector<Extent> extents_;
};

Result<void> NewSpace::take(uint64_t ino, FileRange blocks, bool large) {
  {
    MutexLock lock(fs_.mutex);
    const ExtentMap& map = fs_.inodes.at(ino).extents;
    for (const FileRange& hole : map.holes(blocks)) {
      const auto goal = map.goal(hole.begin);
      if (!fs_.allocator.allocate(ino, hole, large, goal, extents_)) return fail(ENOSPC);
    }
  }
  for (const Extent& extent : extents_) {
    PMEMD_TRY(fs_.media.allocate(extent.data()));
  }
  return {};
}

Result<void> try_map_range(FsState& fs, uint64_t ino, FileRange range, uint64_t size) {
  FreedSpace freed(fs);
  MutexLock lock(fs.change_mutex);
  PMEMD_TRY(fs.load(ino));
  uint64_t old_size = 0;
  {
    MutexLock memory(fs.mutex);
    const InodeRow& row = fs.inodes.at(ino).row;
    PMEMD_TRY(check_regular(row));
    old_size = row.size;
  }
  size = std::max(size, old_size);
  if (size > old_size) PMEMD_TRY(prepare_size(fs, ino, size));
  NewSpace space(fs);
  PMEMD_TRY(
      space.take(ino, range.widened_to(kPageSize), std::max(size, range.end) >= kSubsectionSize));

  Transaction transaction(fs.db);
  PMEMD_TRY(transaction.begin());
  Change change(fs, freed);
  PMEMD_ASSIGN(InodeRow * row, change.open(ino));
  row->size = size;
  row->touch(change.now());
  ExtentMap::Plan plan;
  {
    MutexLock memory(fs.mutex);
    plan = fs.inodes.at(ino).extents.plan({}, space.extents());
  }
  PMEMD_TRY(change.remap(ino, std::move(plan)));
  PMEMD_TRY(change.commit(transaction));
  space.keep();
  return {};
}

}  // namespace

Result<FileRange> file_range(uint64_t offset, uint64_t length) {
  if (offset > kFileSizeMax || length > kFileSizeMax - offset) return fail(EFBIG);
  return FileRange::sized(offset, length);
}

void mark_unsynced(Inode& inode, FileRange range) {
  inode.unsynced.insert(range.widened_to(kPageSize));
  if (inode.unsynced.count() > kUnsyncedRangesMax) inode.unsynced.insert(kWholeFile);
}

Result<void> zero_mapped(FsState& fs, uint64_t ino, FileRange range) {
  std::vector<Extent> mapped;
  {
    MutexLock lock(fs.mutex);
    mapped = fs.inodes.at(ino).extents.find(range);
  }
  if (mapped.empty()) return {};
  for (const Extent& extent : mapped) {
    PMEMD_TRY(fs.media.zero(extent.data()));
  }
  MutexLock lock(fs.mutex);
  mark_unsynced(fs.inodes.at(ino), range);
  return {};
}

Result<void> clear_bad(FsState& fs, uint64_t ino, FileRange range) {
  std::vector<Extent> mapped;
  {
    MutexLock lock(fs.mutex);
    mapped = fs.inodes.at(ino).extents.find(range);
  }
  const bool any = std::ranges::any_of(
      mapped, [&fs](const Extent& extent) { return !fs.media.bad(extent.data()).empty(); });
  return any ? zero_mapped(fs, ino, range) : Result<void>();
}

// Shrinking zeroes the rest of the last block, too; but a crash may come between its transaction
// and the zeroing, and a writer that the kernel let pass late may have written past the end.
Result<void> prepare_size(FsState& fs, uint64_t ino, uint64_t size) {
  FileRange gap;
  uint64_t old_size = 0;
  {
    MutexLock lock(fs.mutex);
    const InodeRow& row = fs.inodes.at(ino).row;
    PMEMD_TRY(check_regular(row));
    old_size = row.size;
    gap = {old_size, std::min(size, align_up(old_size, kPageSize))};
  }
  PMEMD_TRY(file_range(0, size));
  if (size < old_size) return clear_bad(fs, ino, {size, align_up(size, kPageSize)});
  return gap.empty() ? Result<void>() : zero_mapped(fs, ino, gap);
}

Result<void> change_size(FsState& fs, Change& change, InodeRow& row, uint64_t size) {
  row.touch(change.now());
  // At the same size, too: blocks allocated past the end are freed.
  const bool cuts = size <= std::exchange(row.size, size);
  if (!cuts) return {};
  ExtentMap::Plan plan;
  {
    MutexLock lock(fs.mutex);
    const FileRange behind = {align_up(size, kPageSize), kWholeFile.end};
    plan = fs.inodes.at(row.ino).extents.plan(behind, {});
  }
  return change.remap(row.ino, std::move(plan));
}

Result<void> map_range(FsState& fs, uint64_t ino, FileRange range, uint64_t size) {
  for (;;) {
    auto mapped = try_map_range(fs, ino, range, size);
    if (mapped.err() != ENOSPC || !fs.wait_for_retired_space()) return mapped;
  }
}

Result<void> punch_range(FsState& fs, uint64_t ino, FileRange range) {
  FreedSpace freed(fs);
  MutexLock lock(fs.change_mutex);
  PMEMD_TRY(fs.load(ino));
  FileRange inner = {align_up(range.begin, kPageSize), align_down(range.end, kPageSize)};
  if (inner.empty()) inner = {range.end, range.end};
  PMEMD_TRY(clear_bad(fs, ino, {range.begin, inner.begin}));
  PMEMD_TRY(clear_bad(fs, ino, {inner.end, range.end}));
  {
    Transaction transaction(fs.db);
    PMEMD_TRY(transaction.begin());
    Change change(fs, freed);
    PMEMD_ASSIGN(InodeRow * row, change.open(ino));
    PMEMD_TRY(check_regular(*row));
    row->touch(change.now());
    ExtentMap::Plan plan;
    {
      MutexLock memory(fs.mutex);
      plan = fs.inodes.at(ino).extents.plan(inner, {});
    }
    PMEMD_TRY(change.remap(ino, std::move(plan)));
    PMEMD_TRY(change.commit(transaction));
  }
  const MustAllocate recorded;
  PMEMD_TRY(zero_mapped(fs, ino, {range.begin, inner.begin}));
  return zero_mapped(fs, ino, {inner.end, range.end});
}

}  // namespace pmemd
