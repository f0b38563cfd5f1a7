// What requests find out, to be acted on later: a touch of a latent error becomes a failure, and
// everybody concerned is told; so are writes that have cleared errors, and stores that could not be
// written back, which no call of a program may ever report.
//
// Notes are kept as bounded sets of ranges, one for each device or file; a worker acts on them.
// Lost stores are reported at most once a second: a full disk loses thousands in that time.
//
// Thread contract: any thread, even those that serve requests; nothing blocks. Destruction: from a
// thread that may wait for the worker.
// Models: mm/memory-failure.c memory_failure_queue() @v6.12; differs: adjacent ranges merge, and
// nothing is dropped under load.
#pragma once

#include <map>
#include <vector>

#include "core/base/mutex.h"
#include "core/base/worker.h"
#include "core/poison/poison.h"
#include "core/range/range_set.h"

namespace pmemd {

class FailureQueue {
 public:
  FailureQueue(FailurePorts ports, Worker& worker);
  ~FailureQueue();  // reports lost stores; drops other notes that nobody has acted on
  FailureQueue(const FailureQueue&) = delete;
  FailureQueue& operator=(const FailureQueue&) = delete;

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

  void act_on_found() PMEMD_EXCLUDES(mutex_);
  void act_on_lost() PMEMD_EXCLUDES(mutex_);
  void act(uint64_t ino, const Found& found);
  void tell_lost(uint64_t ino, const LostStores& lost);

  const FailurePorts ports_;
  Worker& worker_;
  mutable Mutex mutex_;
  Noted found_ PMEMD_GUARDED_BY(mutex_);
  Noted acting_ PMEMD_GUARDED_BY(mutex_);  // what the worker is acting on
  Lost lost_ PMEMD_GUARDED_BY(mutex_);
  Deadline lost_due_ PMEMD_GUARDED_BY(mutex_) = {};  // not before
};

}  // namespace pmemd
