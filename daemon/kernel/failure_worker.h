// Does what requests find out: a touch of a latent error becomes a failure that everybody concerned
// is told of; a write that has cleared errors is told too, and so are stores that could not be
// written back, which no call of a program's may ever say.
//
// One thread. What is noted is kept as ranges, a set for each device or file, and bounded. Lost
// stores are told at most once a second: a full disk loses thousands in that time.
//
// Thread contract: note_…() from any thread, also from those that serve requests; they don't block.
// Models: mm/memory-failure.c memory_failure_queue() @v6.12; differs: ranges that meet are one, and
// nothing is dropped when there is much.
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
  ~FailureWorker();  // ends; what is noted and not done yet isn't
  FailureWorker(const FailureWorker&) = delete;
  FailureWorker& operator=(const FailureWorker&) = delete;

  void note_latent(const Device& device, DataRange range) PMEMD_EXCLUDES(mutex_);
  void note_cleared(const Device& device, const std::vector<DataRange>& ranges)
      PMEMD_EXCLUDES(mutex_);
  // The kernel has dropped what it wanted to write back to `range` of a file: `err`.
  void note_lost(uint64_t ino, FileRange range, int err) PMEMD_EXCLUDES(mutex_);
  // The parts of `range` in which latent errors were noted, and aren't all known yet.
  std::vector<DataRange> touched(const Device& device, DataRange range) const
      PMEMD_EXCLUDES(mutex_);

 private:
  struct Found {
    RangeSet<DataSpace> latent;
    RangeSet<DataSpace> cleared;
  };

  using Noted = std::map<uint64_t, Found>;  // by the device's root inode

  struct LostStores {
    RangeSet<FileSpace> ranges;  // beyond kMaxLostRanges: what they lie in
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
  Noted acting_ PMEMD_GUARDED_BY(mutex_);  // what the thread is at
  Lost lost_ PMEMD_GUARDED_BY(mutex_);
  Deadline lost_due_ PMEMD_GUARDED_BY(mutex_) = {};  // not before
  bool stop_ PMEMD_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace pmemd
