#include "core/poison/scrub.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/base/memory.h"
#include "core/base/units.h"

namespace pmemd {
namespace {

// With a rate, one step per kStepTime; without one, kStepBytes at a time.
constexpr std::chrono::milliseconds kStepTime{50};
constexpr uint64_t kStepBytes = 64 * kGiB;

uint64_t sum_of(const std::vector<RegionRange>& ranges) {
  uint64_t bytes = 0;
  for (const RegionRange& range : ranges) bytes += range.length();
  return bytes;
}

}  // namespace

Scrubber::Scrubber(FailurePorts failure, Ports ports, Worker& worker)
    : failure_(std::move(failure)), ports_(std::move(ports)), worker_(worker) {}

Scrubber::~Scrubber() { worker_.cancel(this); }

Result<ScrubStatus> Scrubber::start(uint32_t region, RegionRange range, uint64_t bytes_per_s) {
  if (range.empty()) return fail(EINVAL, fmt::format("region{}: nothing to scrub", region));
  ScrubStatus started;
  {
    MutexLock lock(mutex_);
    Job& job = jobs_[region];
    if (job.status.running) {
      return fail(EBUSY, fmt::format("region{}: a scrub is under way", region),
                  fmt::format("pmemctl wait-scrub region{}", region));
    }
    job = {.id = ++last_job_,
           .status = {.region = region, .range = range, .running = true},
           .bytes_per_s = bytes_per_s,
           .due = Clock::now()};
    started = job.status;
  }
  step_at(region, Clock::now());
  // After starting: a concurrent destroy of the region forgets this scrub, or is seen here.
  if (ports_.errors_of(region)) return started;
  forget(region);
  return fail(ENOENT, fmt::format("region{}: there is no such region", region));
}

void Scrubber::forget(uint32_t region) {
  {
    MutexLock lock(mutex_);
    if (jobs_.erase(region) == 0) return;
  }
  if (ports_.on_progress) ports_.on_progress();
}

std::vector<ScrubStatus> Scrubber::status() const {
  MutexLock lock(mutex_);
  std::vector<ScrubStatus> all;
  all.reserve(jobs_.size());
  for (const auto& [region, job] : jobs_) all.push_back(job.status);
  return all;
}

void Scrubber::step_at(uint32_t region, Deadline due) {
  worker_.submit_once({.owner = this, .id = region}, [this, region] { step(region); }, due);
}

std::optional<Scrubber::Step> Scrubber::next_step(uint32_t region) {
  const auto found = jobs_.find(region);
  if (found == jobs_.end() || !found->second.status.running) return std::nullopt;
  Job& job = found->second;
  uint64_t length = kStepBytes;
  if (job.bytes_per_s != 0) {
    const auto steps_per_s = static_cast<uint64_t>(std::chrono::seconds(1) / kStepTime);
    length = align_down(job.bytes_per_s / steps_per_s, kSectorSize);
    job.due += kStepTime;
    if (length == 0) {  // a sector takes longer than kStepTime
      length = kSectorSize;
      job.due += std::chrono::nanoseconds(kSectorSize * 1'000'000'000 / job.bytes_per_s);
    }
  }
  const RegionRange all = job.status.range;
  const uint64_t begin = all.begin + job.status.done_bytes;
  const auto range = RegionRange::sized(begin, std::min(length, all.end - begin));
  return Step{job.id, region, range, range.end == all.end};
}

Scrubber::Job* Scrubber::job_of(const Step& step) {
  const auto found = jobs_.find(step.region);
  return found == jobs_.end() || found->second.id != step.job ? nullptr : &found->second;
}

void Scrubber::step(uint32_t region) {
  const MustAllocate not_lost;  // a waiter for the end would wait for ever
  std::optional<Step> step;
  {
    MutexLock lock(mutex_);
    step = next_step(region);
  }
  if (!step) return;
  ScrubStatus found;
  do_step(*step, found);
  ScrubStatus done;
  Deadline next;
  {
    MutexLock lock(mutex_);
    Job* const job = job_of(*step);
    if (job == nullptr) return;
    ScrubStatus& status = job->status;
    status.done_bytes += step->range.length();
    status.found_bytes += found.found_bytes;
    status.failed += found.failed;
    done = status;
    next = job->due;
  }
  // Tells first, so that a caller that waited for the end finds the event.
  if (step->is_last) {
    tell_done(done);
    MutexLock lock(mutex_);
    if (Job* const job = job_of(*step)) job->status.running = false;
  } else {
    step_at(region, next);
  }
  if (ports_.on_progress) ports_.on_progress();
}

void Scrubber::do_step(const Step& step, ScrubStatus& found) {
  const auto of_region = ports_.errors_of(step.region);
  if (!of_region) return;
  MediaErrors& errors = *of_region;
  if (errors.latent(step.range).empty()) return;
  for (const auto& device : ports_.devices_of(step.region)) {
    const DataRange data = device->record().of_namespace().in_data(step.range);
    if (data.empty()) continue;
    const uint64_t before = sum_of(errors.known(device->record().of_namespace().in_region(data)));
    if (errors.latent(device->record().of_namespace().in_region(data)).empty()) continue;
    const auto report = discover_errors(*device, {data}, failure_);
    found.found_bytes +=
        sum_of(errors.known(device->record().of_namespace().in_region(data))) - before;
    // ENXIO: private memory, whose mappers aren't told; its errors become known below.
    if (!report && report.err() != ENXIO) ++found.failed;
  }
  // The parts outside namespaces' data: metadata, free space.
  const auto rest = errors.discover({step.range});
  if (rest) {
    found.found_bytes += sum_of(*rest);
  } else {
    ++found.failed;
  }
}

void Scrubber::tell_done(const ScrubStatus& status) {
  bool is_told = false;
  for (const auto& device : ports_.devices_of(status.region)) {
    const DataRange data = device->record().of_namespace().in_data(status.range);
    if (data.empty()) continue;
    failure_.events.publish(EventKind::kScrub, device->record().name(), data);
    is_told = true;
  }
  if (is_told) return;
  failure_.events.publish(EventKind::kScrub, RegionRecord{.id = status.region}.name(),
                          {status.range.begin, status.range.end});
}

}  // namespace pmemd
