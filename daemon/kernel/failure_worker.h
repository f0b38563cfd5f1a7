// Acts on what requests find out: turns a touch of a latent error into a failure, and tells
// everybody concerned; reports writes that have cleared errors, and stores that could not be
// written back, which no call of a program may ever report.
//
// One thread. Notes are kept as bounded sets of ranges, one for each device or file. Lost stores
// are reported at most once a second: a full disk loses thousands in that time.
//
// Thread contract: note_…() from any thread, even those that serve requests; they don't block.
// Models: mm/memory-failure.c memory_failure_queue() @v6.12; differs: adjacent ranges merge, and
// nothing is dropped under load.
#pragma once

#include <map>
#include <thread>
#include <vector>

#include "core/base/mutex.h"
#include "core/poison/poison.h"
#include "core/range/range_set.h"

namespace pmemd {

class FailureWorker {
 public:
  explicit FailureWorker(FailurePorts ports);
  ~FailureWorker();  // ends the thread; drops notes that it hasn't acted on
  FailureWorker(const FailureWorker&) = delete;
  FailureWorker& operator=(const FailureWorker&) = delete;

  // `device_ino`: the device's root inode.
  void note_latent(uint64_t device_ino, DataRange range) PMEMD_EXCLUDES(mutex_);
  void note_cleared(uint64_t device_ino, const std::vector<DataRange>& ranges)
      PMEMD_EXCLUDES(mutex_);
  // The kernel has dropped data that it failed to write back to `range` of a file, with `err`.
  void note_lost(uint64_t ino, FileRange range, int err) PMEMD_EXCLUDES(mutex_);
  // The parts of `range` in which latent errors were noted that aren't all known yet.
  std::vector<DataRange> touched(const Device& device, DataRange range) const
      PMEMD_EXCLUDES(mutex_);

 private:
  struct Found {
    RangeSet<DataSpace> latent;
    RangeSet<DataSpace> cleared;
  };

  using Noted = std::map<uint64_t, Found>;  // by the device's root inode

  struct LostStores {
    RangeSet<FileSpace> ranges;  // beyond kMaxLostRanges: one that spans them
    int err = 0;                 // of the last
  };
  using Lost = std::map<uint64_t, LostStores>;  // by inode; beyond kMaxLostFiles: only counted
  static constexpr size_t kMaxLostFiles = 1024, kMaxLostRanges = 64;

  bool lost_is_due() const PMEMD_REQUIRES(mutex_);
  void run() PMEMD_EXCLUDES(mutex_);
  void act(uint64_t ino, const Found& found);
  void tell_lost(uint64_t ino, const LostStores& lost);

  const FailurePorts ports_;
  mutable Mutex mutex_;
  CondVar found_cv_;
  Noted found_ PMEMD_GUARDED_BY(mutex_);
  Noted acting_ PMEMD_GUARDED_BY(mutex_);  // what the thread is acting on
  Lost lost_ PMEMD_GUARDED_BY(mutex_);
  Deadline lost_due_ PMEMD_GUARDED_BY(mutex_) = {};  // not before
  bool stop_ PMEMD_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace pmemd
