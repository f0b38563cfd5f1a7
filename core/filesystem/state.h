// The state that the parts of FileSystem share: the cache of inodes and the free space, and how
// they change. Private to this folder.
//
// Two locks. `change_mutex` serializes changes of metadata: its holder reads rows, runs the
// transaction, and only then puts the outcome into memory. `mutex` guards the memory itself and is
// held for moments, never across the database or the image. So reads, overwrites and getattr of a
// known inode never wait for a transaction.
// Order: change_mutex → Database::mutex() → mutex.
//
// Invariants:
//  1. Memory never runs ahead of the table, except for times (`times_dirty`).
//  2. Inodes enter and leave the cache, extents and free space change, only under change_mutex.
//     (Space comes back to the allocator under `mutex` alone.)
//  3. Freed space is in exactly one place: on its way through Srcu (`retiring_bytes`, then
//     `zeroing_bytes`), or free.
//  4. An inode without links is cached: one that isn't cached needs no work when it is forgotten.
//  5. The cache is bounded: an inode that isn't dirty may be dropped whenever nobody holds
//     change_mutex, unless it has no links or an fsync is in progress. This loses only which of its
//     bytes are synced; an inode that is loaded again counts as not synced at all.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/srcu.h"
#include "core/database/database.h"
#include "core/filesystem/allocator.h"
#include "core/filesystem/filesystem.h"
#include "core/filesystem/inode.h"
#include "core/filesystem/rows.h"
#include "core/media/media.h"

namespace pmemd {

class FsState {
 public:
  FsState(Database& database, Rows statements, Media& data_area, Srcu& requests,
          const LookupCounts& lookup_counts, FileSystem::Options fs_options, Allocator free_space)
      : db(database),
        media(data_area),
        srcu(requests),
        lookups(lookup_counts),
        options(std::move(fs_options)),
        rows(std::move(statements)),
        allocator(std::move(free_space)) {}
  ~FsState();  // asserts: no space on its way

  int64_t now() const { return to_nanoseconds(options.clock()); }

  // Brings the inode into the cache. ESTALE: there is none.
  Result<void> load(uint64_t ino) PMEMD_REQUIRES(change_mutex) PMEMD_EXCLUDES(mutex);
  // The same under the database's mutex.
  Result<void> load_locked(uint64_t ino) PMEMD_REQUIRES(change_mutex) PMEMD_EXCLUDES(mutex);

  // Runs `use(Inode&)`, which returns a Result, under `mutex`. ESTALE.
  template <class Use>
  std::invoke_result_t<Use&, Inode&> with_inode(uint64_t ino, Use use)
      PMEMD_EXCLUDES(change_mutex, mutex) {
    {
      MutexLock lock(mutex);
      if (const auto it = inodes.find(ino); it != inodes.end()) {
        it->second.is_used = true;
        return use(it->second);
      }
    }
    make_room();
    MutexLock change(change_mutex);
    PMEMD_TRY(load(ino));
    MutexLock lock(mutex);
    return use(inodes.at(ino));
  }
  // The same for a regular file; else EISDIR, EINVAL.
  template <class Use>
  std::invoke_result_t<Use&, Inode&> with_file(uint64_t ino, Use use)
      PMEMD_EXCLUDES(change_mutex, mutex) {
    return with_inode(ino, [&use](Inode& inode) -> std::invoke_result_t<Use&, Inode&> {
      PMEMD_TRY(check_regular(inode.row));
      return use(inode);
    });
  }

  // The attributes of an inode that was just read from the table: from memory's row, if it is
  // cached.
  Attr attr_of(const InodeRow& row, uint64_t mapped_bytes) PMEMD_EXCLUDES(mutex);

  // Drops some inodes, if too many are cached. Callers that may load one call it before they take
  // any lock. An inode whose times can't be written stays.
  void make_room() PMEMD_EXCLUDES(change_mutex, mutex);

  // Removes an inode that has no links and that the kernel doesn't know.
  Result<void> remove_if_unused(uint64_t ino) PMEMD_EXCLUDES(change_mutex, mutex);

  // Writes those times of these inodes that are only in memory.
  Result<void> write_times(std::span<const uint64_t> inos) PMEMD_EXCLUDES(change_mutex, mutex);

  // Gives space back: at once if nobody has seen it, else when all current requests have ended.
  enum class Origin { kNew, kRetired };
  void give_back(std::vector<DataRange> ranges, Origin origin) noexcept PMEMD_EXCLUDES(mutex);
  // Returns the parts of it that are now zeros.
  std::vector<DataRange> discard(DataRange range) PMEMD_EXCLUDES(mutex);
  void retire(std::vector<DataRange> ranges) noexcept PMEMD_EXCLUDES(change_mutex, mutex);
  // Waits, for a limited time, until some of the space in transit has come back. False: there is
  // none to wait for, or it took too long (the caller's own request may be what delays it).
  bool wait_for_retired_space() PMEMD_EXCLUDES(change_mutex, mutex);

  Database& db;
  Media& media;
  Srcu& srcu;
  const LookupCounts& lookups;
  const FileSystem::Options options;

  Mutex change_mutex;
  uint64_t next_index PMEMD_GUARDED_BY(change_mutex) = 0;
  uint64_t end_index PMEMD_GUARDED_BY(change_mutex) = 0;  // of the indices reserved in the table
  Rows rows;                                              // under the database's mutex

  Mutex mutex;
  std::unordered_map<uint64_t, Inode> inodes PMEMD_GUARDED_BY(mutex);
  Allocator allocator PMEMD_GUARDED_BY(mutex);
  CondVar space_came_back PMEMD_GUARDED_BY(mutex);
  uint64_t retiring_bytes PMEMD_GUARDED_BY(mutex) = 0;          // waiting for requests to end
  uint64_t zeroing_bytes PMEMD_GUARDED_BY(mutex) = 0;           // in their last step
  bool free_space_is_zero PMEMD_GUARDED_BY(mutex) = true;       // false: some could not be zeroed
  std::optional<uint64_t> inode_count PMEMD_GUARDED_BY(mutex);  // counted when first asked for

 private:
  std::vector<uint64_t> inodes_to_let_go() PMEMD_EXCLUDES(mutex);

  size_t hand_ PMEMD_GUARDED_BY(mutex) = 0;  // the bucket of `inodes` that was examined last
  std::atomic_flag making_room_ = ATOMIC_FLAG_INIT;
};

// Sorts the ranges, and merges adjacent ones, for fewer system calls. In place: allocates nothing.
std::vector<DataRange> merged(std::vector<DataRange> ranges);

// Space that a change frees. Retires it when it goes out of scope: declare it before the locks, so
// that they are released by then. Its constructor makes room, while no lock is held, for the inodes
// that the change may load.
class FreedSpace {
 public:
  explicit FreedSpace(FsState& fs) : fs_(fs) { fs.make_room(); }
  ~FreedSpace() {
    if (!ranges_.empty()) fs_.retire(std::move(ranges_));
  }
  FreedSpace(const FreedSpace&) = delete;
  FreedSpace& operator=(const FreedSpace&) = delete;

  // `count` more ranges will be added, and that must not fail.
  void expect(size_t count) { ranges_.reserve(expected_ += count); }
  void add(std::span<const DataRange> ranges) {
    ranges_.insert(ranges_.end(), ranges.begin(), ranges.end());
  }

 private:
  FsState& fs_;
  size_t expected_ = 0;
  std::vector<DataRange> ranges_;
};

}  // namespace pmemd
