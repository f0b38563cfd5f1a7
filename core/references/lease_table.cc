#include "core/references/lease_table.h"

#include <cassert>

#include "core/base/units.h"

namespace pmemd {
namespace {

constexpr uint64_t kMaxRangesOfInode = 65'536;
constexpr uint64_t kGranule = 2 * kMiB;  // of ranges when they first become coarse

}  // namespace

LeaseTable::~LeaseTable() { assert(lent_.empty()); }

void LeaseTable::keep_limit(OfInode& lent) {
  const uint64_t limit = totals_.ranges < kMaxRanges ? kMaxRangesOfInode : kMinRanges;
  if (lent.ranges.count() <= limit) return;
  while (lent.ranges.count() > limit / 2) {
    lent.granule = lent.granule == 0 ? kGranule : 2 * lent.granule;
    RangeSet<FileSpace> coarse;
    lent.ranges.for_each([&](FileRange range) { coarse.insert(range.widened_to(lent.granule)); });
    lent.ranges = std::move(coarse);
  }
}

bool LeaseTable::lend(uint64_t ino, FileRange range) {
  if (range.empty()) return true;
  PercpuRef::Ref spare = ref_->tryget();  // for the range that this may add
  if (!spare) return false;
  uint64_t merged = 0;
  {
    MutexLock lock(mutex_);
    OfInode& lent = lent_[ino];
    RangeSet<FileSpace>& set = lent.ranges;
    if (set.contains(range)) return true;  // warm path: nothing changes
    if (lent.granule != 0) range = range.widened_to(lent.granule);
    const uint64_t count_before = set.count();
    const uint64_t bytes_before = set.bytes();
    if (set.empty()) lent.since = std::chrono::system_clock::now();
    set.insert(range);
    keep_limit(lent);
    totals_.bytes += set.bytes() - bytes_before;
    totals_.ranges += set.count();
    totals_.ranges -= count_before;
    if (set.count() > count_before)
      spare.release();  // now belongs to the range
    else
      merged = count_before - set.count();
  }
  ref_->put_many(merged);
  return true;
}

void LeaseTable::give_back(uint64_t ino, FileRange range) {
  uint64_t dropped = 0;
  {
    MutexLock lock(mutex_);
    const auto it = lent_.find(ino);
    if (it == lent_.end()) return;
    RangeSet<FileSpace>& set = it->second.ranges;
    const uint64_t count_before = set.count();
    const uint64_t bytes_before = set.bytes();
    // A cut in the middle makes two ranges of one; taking the second's reference can't fail,
    // because the first holds one.
    set.erase(range);
    keep_limit(it->second);
    const uint64_t count_after = set.count();
    totals_.bytes -= bytes_before - set.bytes();
    totals_.ranges += count_after;
    totals_.ranges -= count_before;
    if (count_after > count_before) ref_->get_many(count_after - count_before);
    if (count_after < count_before) dropped = count_before - count_after;
    if (set.empty()) lent_.erase(it);
  }
  ref_->put_many(dropped);
}

void LeaseTable::give_back_all() {
  uint64_t dropped = 0;
  {
    MutexLock lock(mutex_);
    dropped = totals_.ranges;
    totals_ = {};
    lent_.clear();
  }
  ref_->put_many(dropped);
}

std::vector<uint64_t> LeaseTable::inodes() const {
  MutexLock lock(mutex_);
  std::vector<uint64_t> found;
  found.reserve(lent_.size());
  for (const auto& [ino, lent] : lent_) found.push_back(ino);
  return found;
}

std::vector<FileRange> LeaseTable::ranges(uint64_t ino) const {
  MutexLock lock(mutex_);
  const auto it = lent_.find(ino);
  return it == lent_.end() ? std::vector<FileRange>() : it->second.ranges.ranges();
}

void LeaseTable::rebind(PercpuRef& ref) {
  MutexLock lock(mutex_);
  assert(lent_.empty());
  ref_ = &ref;
}

uint64_t LeaseTable::append_to(std::vector<Reference>& list, size_t limit,
                               const std::optional<ReferenceFilter>& only) const {
  MutexLock lock(mutex_);
  uint64_t matching = 0;
  const auto append_inode = [&](uint64_t ino, const OfInode& lent) {
    lent.ranges.for_each([&](FileRange range) {
      if (only && !range.overlaps(only->range)) return;
      ++matching;
      if (list.size() >= limit) return;
      list.push_back(
          {.kind = ReferenceKind::kLease, .ino = ino, .range = range, .since = lent.since});
    });
  };
  if (only) {
    if (const auto it = lent_.find(only->ino); it != lent_.end())
      append_inode(only->ino, it->second);
    return matching;
  }
  for (const auto& [ino, lent] : lent_) {
    if (list.size() >= limit) break;
    append_inode(ino, lent);
  }
  return totals_.ranges;
}

LeaseTable::Totals LeaseTable::totals() const {
  MutexLock lock(mutex_);
  return totals_;
}

}  // namespace pmemd
