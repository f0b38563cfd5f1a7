// Searches regions for latent errors.
//
// A scrub goes through a range of a region from start to end, at the requested rate. It makes
// latent errors known, which has the same effect as a touch of them. It reads no bytes: the
// platform's errors are a table, so a scrub at full speed takes no time.
//
// Invariants:
//  1. At most one scrub per region; the status of the last one stays available.
//  2. No lock is held while a failure is handled, nor across a callback.
//  3. A step that fails is counted, and the scrub goes on after it.
//  4. A scrub ends with its region.
//
// Thread contract: any thread that serves no requests. A worker does the steps.
// Models: drivers/acpi/nfit/core.c acpi_nfit_scrub() @v6.12; differs: by range, at a rate, and each
// region separately.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/worker.h"
#include "core/poison/poison.h"

namespace pmemd {

struct ScrubStatus {
  uint32_t region = 0;
  RegionRange range = {};
  uint64_t done_bytes = 0;   // of the range
  uint64_t found_bytes = 0;  // that became known to be bad
  uint64_t failed = 0;       // steps that failed: what they would have found stays latent
  bool running = false;
};

class Scrubber {
 public:
  struct Ports {
    std::function<std::shared_ptr<MediaErrors>(uint32_t region)> errors_of;  // null: no region
    std::function<std::vector<std::shared_ptr<Device>>(uint32_t region)> devices_of;
    std::function<void()> on_progress;  // without a lock; must not block
  };

  Scrubber(FailurePorts failure, Ports ports, Worker& worker);
  ~Scrubber();  // gives up scrubs in progress
  Scrubber(const Scrubber&) = delete;
  Scrubber& operator=(const Scrubber&) = delete;

  // `bytes_per_s` 0: no limit. EBUSY: a scrub of the region is in progress. EINVAL: empty.
  // ENOENT: no such region.
  Result<ScrubStatus> start(uint32_t region, RegionRange range, uint64_t bytes_per_s)
      PMEMD_EXCLUDES(mutex_);
  // The region is gone: drops its scrub and status. Doesn't wait for a step in progress, which then
  // finds nothing.
  void forget(uint32_t region) PMEMD_EXCLUDES(mutex_);
  // The status of each region that had a scrub, by region.
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
  void step_at(uint32_t region, Deadline due);
  void step(uint32_t region) PMEMD_EXCLUDES(mutex_);
  // The region's next step, which sets when the one behind it is due; nothing: no scrub runs.
  std::optional<Step> next_step(uint32_t region) PMEMD_REQUIRES(mutex_);
  // The job that the step belongs to; null: it was forgotten meanwhile.
  Job* job_of(const Step& step) PMEMD_REQUIRES(mutex_);
  void do_step(const Step& step, ScrubStatus& found);
  void tell_done(const ScrubStatus& status);

  const FailurePorts failure_;
  const Ports ports_;
  Worker& worker_;

  mutable Mutex mutex_;
  std::map<uint32_t, Job> jobs_ PMEMD_GUARDED_BY(mutex_);
  uint64_t last_job_ PMEMD_GUARDED_BY(mutex_) = 0;
};

}  // namespace pmemd
