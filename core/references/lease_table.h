// What was lent to the kernel's page cache, by inode and file range.
//
// A READ that is answered and a buffered write that is accepted leave pages in the page cache; a
// mapping may reach them until the kernel is told to drop them. So each such range is a lease, and
// each distinct range (adjacent ones merge) holds one reference of the pagemap. The kernel drops
// clean pages without telling us, so leases are an upper bound of what it holds.
//
// Invariants:
//  1. References held = number of distinct ranges. Memory grows with them, not with pages.
//  2. A lease is recorded before the reply that lends it leaves.
//  3. At most kMaxRanges, and kMinRanges more for each inode: reading or punching every other page
//     of a large file makes its ranges coarser (more is lent than was read), not the table larger.
//
// Thread contract: any thread. The caller of lend() must be inside an admitted request (so that the
// pagemap can't be drained meanwhile).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/base/mutex.h"
#include "core/percpu/percpu_ref.h"
#include "core/range/range_set.h"
#include "core/references/reference.h"

namespace pmemd {

class LeaseTable {
 public:
  static constexpr uint64_t kMaxRanges = 1 << 20;
  static constexpr uint64_t kMinRanges = 64;  // an inode may always have, whatever others have

  explicit LeaseTable(PercpuRef& ref) : ref_(&ref) {}
  LeaseTable(const LeaseTable&) = delete;
  LeaseTable& operator=(const LeaseTable&) = delete;
  ~LeaseTable();  // asserts: everything was given back

  // False: lent nothing, because the pagemap is dead and drained.
  [[nodiscard]] bool lend(uint64_t ino, FileRange range) PMEMD_EXCLUDES(mutex_);
  // A cut in the middle makes two ranges of one; at the limit it makes the inode's ranges coarser.
  void give_back(uint64_t ino, FileRange range) PMEMD_EXCLUDES(mutex_);
  void give_back_all() PMEMD_EXCLUDES(mutex_);

  // For a new life of the device, on another pagemap: nothing may be lent, and nobody may be
  // lending.
  void rebind(PercpuRef& ref) PMEMD_EXCLUDES(mutex_);

  std::vector<uint64_t> inodes() const PMEMD_EXCLUDES(mutex_);
  std::vector<FileRange> ranges(uint64_t ino) const PMEMD_EXCLUDES(mutex_);

  struct Totals {
    uint64_t ranges = 0;
    uint64_t bytes = 0;
  };
  Totals totals() const PMEMD_EXCLUDES(mutex_);
  // Adds the ranges (`only`: just those that match) to `list` while it has fewer than `limit`
  // entries. Returns how many there are.
  uint64_t append_to(std::vector<Reference>& list, size_t limit,
                     const std::optional<ReferenceFilter>& only) const PMEMD_EXCLUDES(mutex_);

 private:
  struct OfInode {
    RangeSet<FileSpace> ranges;
    uint64_t granule = 0;                         // not 0: ranges are widened to multiples of it
    std::chrono::system_clock::time_point since;  // of the first
  };

  // If an inode has more ranges than allowed, widens them until it has half of that.
  void keep_limit(OfInode& lent) PMEMD_REQUIRES(mutex_);

  PercpuRef* ref_;  // changed by rebind() alone
  mutable Mutex mutex_;
  std::unordered_map<uint64_t, OfInode> lent_ PMEMD_GUARDED_BY(mutex_);
  Totals totals_ PMEMD_GUARDED_BY(mutex_);
};

}  // namespace pmemd
