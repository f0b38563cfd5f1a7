// Does what requests find out about bad memory: a touch of a latent error becomes a failure that
// everybody concerned is told of, and a write that has cleared errors is told too.
//
// One thread. What is noted is kept as ranges, a set for each device: at most as many as are bad.
//
// Thread contract: note_…() from any thread, also from those that serve requests; they don't block.
// Models: mm/memory-failure.c memory_failure_queue() @v6.12; differs: ranges that meet are one, and
// nothing is dropped when there is much.
#pragma once

#include <map>
#include <thread>
#include <vector>

#include "core/base/mutex.h"
#include "core/range/range_set.h"
#include "core/removal/poison.h"

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
  // The parts of `range` in which latent errors were noted, and aren't all known yet.
  std::vector<DataRange> touched(const Device& device, DataRange range) const
      PMEMD_EXCLUDES(mutex_);

 private:
  struct Found {
    RangeSet<DataSpace> latent;
    RangeSet<DataSpace> cleared;
  };

  using Noted = std::map<uint64_t, Found>;  // by the device's root inode

  void run() PMEMD_EXCLUDES(mutex_);
  void act(uint64_t ino, const Found& found);

  const FailurePorts ports_;
  mutable Mutex mutex_;
  CondVar found_cv_;
  Noted found_ PMEMD_GUARDED_BY(mutex_);
  Noted acting_ PMEMD_GUARDED_BY(mutex_);  // what the thread is at
  bool stop_ PMEMD_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace pmemd
