#include "core/filesystem/state.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <memory>
#include <utility>

#include "core/base/memory.h"
#include "core/base/units.h"
#include "core/filesystem/change.h"
#include "core/range/range_set.h"

namespace pmemd {
namespace {

// Zeroing takes time, but waits for nobody.
constexpr std::chrono::milliseconds kZeroingTimeout{5000};

// How many inodes are dropped at once; how much of the cache is searched for them.
constexpr size_t kLetGoBatch = 64;
constexpr size_t kBucketsMax = 1024;

}  // namespace

std::vector<DataRange> merged(std::vector<DataRange> ranges) {
  std::sort(ranges.begin(), ranges.end());
  size_t runs = 0;
  for (const DataRange range : ranges) {
    if (runs != 0 && ranges[runs - 1].end >= range.begin) {
      ranges[runs - 1].end = std::max(ranges[runs - 1].end, range.end);
    } else {
      ranges[runs++] = range;
    }
  }
  ranges.resize(runs);
  return ranges;
}

FsState::~FsState() {
  MutexLock lock(mutex);
  assert(retiring_bytes == 0 && zeroing_bytes == 0);
}

Result<void> FsState::load(uint64_t ino) {
  {
    MutexLock lock(mutex);
    if (inodes.contains(ino)) return {};
  }
  MutexLock lock(db.mutex());
  return load_locked(ino);
}

Result<void> FsState::load_locked(uint64_t ino) {
  {
    MutexLock lock(mutex);
    if (inodes.contains(ino)) return {};
  }
  Inode inode;
  PMEMD_ASSIGN(const auto row, rows.inode(ino));
  if (!row) return fail(ESTALE);
  inode.row = *row;
  if (inode.row.is_regular()) {
    PMEMD_ASSIGN(const auto extents, rows.extents(ino));
    inode.extents = ExtentMap(extents);
    // Whether its writes were followed by an fsync isn't known any more.
    inode.unsynced.insert(kWholeFile);
  }
  MutexLock lock(mutex);
  inodes.emplace(ino, std::move(inode));
  return {};
}

Attr FsState::attr_of(const InodeRow& row, uint64_t mapped_bytes) {
  MutexLock lock(mutex);
  const auto it = inodes.find(row.ino);
  return it == inodes.end() ? to_attr(row, mapped_bytes) : to_attr(it->second);
}

// The inodes not used since the hand last passed.
std::vector<uint64_t> FsState::inodes_to_let_go() {
  std::vector<uint64_t> found;
  MutexLock lock(mutex);
  if (inodes.size() < options.cached_inodes_max) return found;
  found.reserve(kLetGoBatch);
  for (size_t seen = 0; seen < kBucketsMax && found.size() < kLetGoBatch; ++seen) {
    hand_ = (hand_ + 1) % inodes.bucket_count();
    for (auto it = inodes.begin(hand_); it != inodes.end(hand_); ++it) {
      if (!std::exchange(it->second.is_used, false)) found.push_back(it->first);
    }
  }
  return found;
}

void FsState::make_room() {
  if (making_room_.test_and_set(std::memory_order_acquire)) return;  // one is enough
  struct Done {
    std::atomic_flag& flag;
    ~Done() { flag.clear(std::memory_order_release); }
  } const done{making_room_};
  if (const auto found = inodes_to_let_go(); !found.empty()) {
    (void)write_times(found);
    MutexLock change_lock(change_mutex);
    MutexLock lock(mutex);
    for (const uint64_t ino : found) {
      const auto it = inodes.find(ino);
      if (it != inodes.end() && it->second.can_be_let_go()) inodes.erase(it);
    }
  }
}

Result<void> FsState::remove_if_unused(uint64_t ino) {
  FreedSpace freed(*this);
  MutexLock change_lock(change_mutex);
  if (lookups.is_known(ino)) return {};
  {
    MutexLock lock(mutex);
    if (const auto it = inodes.find(ino); it != inodes.end() && it->second.row.nlink > 0) return {};
  }
  Transaction transaction(db);
  PMEMD_TRY(transaction.begin());
  Change change(*this, freed);
  PMEMD_ASSIGN(const InodeRow* row, change.open(ino));
  if (row->nlink > 0) return {};
  PMEMD_TRY(change.remove(ino));
  return change.commit(transaction);
}

Result<void> FsState::write_times(std::span<const uint64_t> inos) {
  FreedSpace freed(*this);
  MutexLock change_lock(change_mutex);
  std::vector<uint64_t> dirty;
  {
    MutexLock lock(mutex);
    for (const uint64_t ino : inos) {
      const auto it = inodes.find(ino);
      if (it != inodes.end() && it->second.times_dirty) dirty.push_back(ino);
    }
  }
  if (dirty.empty()) return {};
  Transaction transaction(db);
  PMEMD_TRY(transaction.begin());
  Change change(*this, freed);
  for (const uint64_t ino : dirty) PMEMD_TRY(change.open(ino));
  return change.commit(transaction);
}

// Space that can't be zeroed is given to nobody: it stays out of use until the next mount tries
// again.
std::vector<DataRange> FsState::discard(DataRange range) {
  if (media.discard(range)) return {range};
  // Bad bytes that can't be cleared keep only their own pages out of use.
  RangeSet<DataSpace> rest;
  rest.insert(range);
  for (const DataRange& bad : media.bad(range)) {
    rest.erase(bad.widened_to(kPageSize));
  }
  std::vector<DataRange> zeroed = rest.ranges();
  std::erase_if(zeroed, [this](DataRange part) { return !media.discard(part); });
  return zeroed;
}

void FsState::give_back(std::vector<DataRange> ranges, Origin origin) noexcept {
  const MustAllocate nobody_else_knows_of_it;
  ranges = merged(std::move(ranges));
  {
    MutexLock lock(mutex);
    for (const DataRange& range : ranges) {
      if (origin == Origin::kRetired) retiring_bytes -= range.length();
      zeroing_bytes += range.length();
    }
    space_came_back.notify_all();
  }
  for (const DataRange& range : ranges) {
    const std::vector<DataRange> zeroed = discard(range);
    MutexLock lock(mutex);
    zeroing_bytes -= range.length();
    uint64_t zeroed_bytes = 0;
    for (const DataRange& part : zeroed) {
      allocator.free(part);
      zeroed_bytes += part.length();
    }
    if (zeroed_bytes != range.length()) free_space_is_zero = false;
    space_came_back.notify_all();
  }
}

void FsState::retire(std::vector<DataRange> ranges) noexcept {
  const MustAllocate nobody_else_knows_of_it;
  {
    MutexLock lock(mutex);
    for (const DataRange& range : ranges) retiring_bytes += range.length();
  }
  srcu.retire([this, ranges = std::move(ranges)]() mutable {
    give_back(std::move(ranges), Origin::kRetired);
  });
}

bool FsState::wait_for_retired_space() {
  const Deadline requests_deadline = deadline_after(options.space_timeout);
  const Deadline zeroing_deadline = deadline_after(kZeroingTimeout);
  MutexLock lock(mutex);
  const uint64_t free_bytes = allocator.free_bytes();
  while (retiring_bytes + zeroing_bytes > 0 && allocator.free_bytes() <= free_bytes) {
    const Deadline deadline = zeroing_bytes > 0 ? zeroing_deadline : requests_deadline;
    if (!space_came_back.wait_until(mutex, deadline)) break;
  }
  return allocator.free_bytes() > free_bytes;
}

}  // namespace pmemd
