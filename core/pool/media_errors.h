// The bad bytes of a region, as the platform and as the kernel would know them.
//
//   injected   the platform's errors: a load there would fail
//   known      the record (badblocks): whole sectors of 512 bytes
//   latent     injected, not known: nobody has touched it yet, no scrub has found it
//   bad        either: can't be read
//
// Errors belong to the region, not to a namespace: they stay when a namespace is destroyed, as they
// would stay in the memory.
//
// Invariants:
//  1. A change is one transaction, and reaches memory only when that is committed.
//  2. Ranges of a kind are disjoint and merged; known ones are whole sectors.
//  3. A query after a change has returned sees the change.
//  4. At most kMaxRanges: injecting can't make us allocate without a limit.
//
// Thread contract: any thread. No lock is held on return. A query costs one load if nothing is bad.
// Models: block/badblocks.c badblocks_set(), badblocks_clear(), badblocks_check(),
// drivers/nvdimm/pmem.c pmem_clear_bb() @v6.12; differs: no limit of 512 entries of at most 512
// sectors each; what the platform knows and the kernel doesn't is here too.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/database/database.h"
#include "core/range/range_set.h"

namespace pmemd {

inline constexpr uint64_t kSectorSize = 512;

// Widens `range` to the whole sectors that it touches.
template <class Space>
constexpr Range<Space> sectors_of(Range<Space> range) {
  return {range.begin / kSectorSize * kSectorSize,
          (range.end + kSectorSize - 1) / kSectorSize * kSectorSize};
}

class MediaErrors {
 public:
  static constexpr uint64_t kMaxRanges = 262'144;  // of both kinds together
  using Ranges = std::vector<RegionRange>;

  // Reads the region's errors from the pool; none, if its version has no such table. EIO: rows that
  // overlap, aren't whole sectors (known ones), or aren't ranges.
  static Result<std::unique_ptr<MediaErrors>> load(Database& db, uint32_t region,
                                                   uint64_t max_ranges = kMaxRanges);
  MediaErrors(const MediaErrors&) = delete;
  MediaErrors& operator=(const MediaErrors&) = delete;

  // The region goes away: each later change is ENOENT, and none is in progress any more.
  void close() PMEMD_EXCLUDES(change_mutex_);
  void reopen() PMEMD_EXCLUDES(change_mutex_);

  // Parts of `range`, in order.
  bool is_bad(RegionRange range) const PMEMD_EXCLUDES(mutex_);
  Ranges bad(RegionRange range) const PMEMD_EXCLUDES(mutex_);
  Ranges known(RegionRange range) const PMEMD_EXCLUDES(mutex_);
  Ranges injected(RegionRange range) const PMEMD_EXCLUDES(mutex_);
  Ranges latent(RegionRange range) const PMEMD_EXCLUDES(mutex_);

  // Each of these is one transaction, however many ranges it has (in any order), and survives a
  // SIGKILL of the daemon once it has returned. ENOSPC: kMaxRanges, or the host's disk; EIO. After
  // an error nothing has changed.
  //
  // The platform has `errors` from now on; the kernel also knows `known` (widened to sectors).
  Result<void> inject(const Ranges& errors, const Ranges& known)
      PMEMD_EXCLUDES(change_mutex_, mutex_);
  // Removes the platform's errors; known ranges stay known.
  Result<void> uninject(const Ranges& ranges) PMEMD_EXCLUDES(change_mutex_, mutex_);
  // Makes latent errors in `ranges` known; returns their sectors.
  Result<Ranges> discover(const Ranges& ranges) PMEMD_EXCLUDES(change_mutex_, mutex_);
  // The ranges were written anew: removes their errors, and then each sector without an error from
  // the record. Returns what was bad and is now good.
  Result<Ranges> clear(const Ranges& ranges) PMEMD_EXCLUDES(change_mutex_, mutex_);

 private:
  using Set = RangeSet<RegionSpace>;
  enum Kind : int { kKnown = 0, kInjected = 1 };
  // Ranges of one kind to remove, and those to add instead.
  struct Change {
    Kind kind;
    Ranges erase, put;
  };

  MediaErrors(Database& db, uint32_t region, uint64_t max_ranges)
      : db_(db), region_(region), max_ranges_(max_ranges) {}
  Result<void> read_rows() PMEMD_EXCLUDES(mutex_);
  Change change_of(Kind kind, const Ranges& erase, const Ranges& insert) const
      PMEMD_EXCLUDES(mutex_);
  Result<void> apply(const std::vector<Change>& changes) PMEMD_REQUIRES(change_mutex_)
      PMEMD_EXCLUDES(mutex_);
  Ranges latent_locked(RegionRange range) const PMEMD_REQUIRES(mutex_);

  Database& db_;
  const uint32_t region_;
  const uint64_t max_ranges_;

  Mutex change_mutex_;  // one change at a time; before the database's
  bool closed_ PMEMD_GUARDED_BY(change_mutex_) = false;
  mutable Mutex mutex_;
  Set sets_[2] PMEMD_GUARDED_BY(mutex_);
  std::atomic<bool> any_ = false;
};

}  // namespace pmemd
