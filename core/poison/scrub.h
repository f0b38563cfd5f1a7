// Looks through regions for errors that nobody knows of yet.
//
// A scrub goes over a range of a region from its begin to its end, at the rate that was asked for.
// What is latent there becomes known, and is the failure that a touch of it would have been. Bytes
// aren't read: the platform's errors are a table, so a scrub as fast as it can takes no time.
//
// Invariants:
//  1. At most one scrub a region; the last one's outcome stays to be asked for.
//  2. No lock is held while a failure takes its way, nor across a callback.
//  3. What fails on the way is counted, and the scrub goes on behind it.
//  4. A scrub ends with its region.
//
// Thread contract: any thread that serves no requests. One thread of its own does the work.
// Models: drivers/acpi/nfit/core.c acpi_nfit_scrub() @v6.12; differs: by range, at a rate, and each
// region by itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/poison/poison.h"

namespace pmemd {

struct ScrubStatus {
  uint32_t region = 0;
  RegionRange range = {};
  uint64_t done_bytes = 0;   // of the range
  uint64_t found_bytes = 0;  // that are known to be bad since
  uint64_t failed = 0;       // steps that could not be done: what they would have found is latent
  bool running = false;
};

class Scrubber {
 public:
  struct Ports {
    std::function<std::shared_ptr<MediaErrors>(uint32_t region)> errors_of;  // null: no region
    std::function<std::vector<std::shared_ptr<Device>>(uint32_t region)> devices_of;
    std::function<void()> on_progress;  // without a lock; must not block
  };

  Scrubber(FailurePorts failure, Ports ports);
  ~Scrubber();  // a scrub under way is given up
  Scrubber(const Scrubber&) = delete;
  Scrubber& operator=(const Scrubber&) = delete;

  // `bytes_per_s` 0: as fast as it can. EBUSY: one is under way in the region. EINVAL: empty.
  // ENOENT: no such region.
  Result<ScrubStatus> start(uint32_t region, RegionRange range, uint64_t bytes_per_s)
      PMEMD_EXCLUDES(mutex_);
  // The region is gone: so is its scrub, and what is known of it. Doesn't wait for a step that is
  // under way, which finds nothing any more.
  void forget(uint32_t region) PMEMD_EXCLUDES(mutex_);
  // Of each region that had one, by region.
  std::vector<ScrubStatus> status() const PMEMD_EXCLUDES(mutex_);

 private:
  struct Job {
    uint64_t id = 0;
    ScrubStatus status;
    uint64_t bytes_per_s = 0;
    Deadline due = {};  // of the next step
  };
  struct Step {
    uint64_t job = 0;
    uint32_t region = 0;
    RegionRange range;
    bool is_last = false;
  };
  void run() PMEMD_EXCLUDES(mutex_);
  Step next_step() PMEMD_REQUIRES(mutex_);
  // The job that a step is of; null: it was forgotten meanwhile.
  Job* job_of(const Step& step) PMEMD_REQUIRES(mutex_);
  void do_step(const Step& step, ScrubStatus& found);
  void tell_done(const ScrubStatus& status);

  const FailurePorts failure_;
  const Ports ports_;

  mutable Mutex mutex_;
  CondVar work_cv_;
  std::map<uint32_t, Job> jobs_ PMEMD_GUARDED_BY(mutex_);
  uint64_t last_job_ PMEMD_GUARDED_BY(mutex_) = 0;
  bool stop_ PMEMD_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace pmemd
