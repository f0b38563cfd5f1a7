#include "core/poison/scrub.h"

#include <fmt/format.h>
#include <pthread.h>

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

Scrubber::Scrubber(FailurePorts failure, Ports ports)
    : failure_(std::move(failure)), ports_(std::move(ports)), thread_([this] { run(); }) {}

Scrubber::~Scrubber() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    work_cv_.notify_all();
  }
  thread_.join();
}

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
    work_cv_.notify_all();
    started = job.status;
  }
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

// Waits until a step is due. Its range is empty when the scrubber is to stop.
Scrubber::Step Scrubber::next_step() {
  while (!stop_) {
    Job* first = nullptr;
    for (auto& [region, job] : jobs_) {
      if (job.status.running && (first == nullptr || job.due < first->due)) first = &job;
    }
    if (first == nullptr) {
      work_cv_.wait(mutex_);
      continue;
    }
    if (first->due > Clock::now()) {
      (void)work_cv_.wait_until(mutex_, first->due);
      continue;
    }
    const ScrubStatus& status = first->status;
    uint64_t length = kStepBytes;
    if (first->bytes_per_s != 0) {
      const auto steps_per_s = static_cast<uint64_t>(std::chrono::seconds(1) / kStepTime);
      length = align_down(first->bytes_per_s / steps_per_s, kSectorSize);
      first->due += kStepTime;
      if (length == 0) {  // a sector takes longer than kStepTime
        length = kSectorSize;
        first->due += std::chrono::nanoseconds(kSectorSize * 1'000'000'000 / first->bytes_per_s);
      }
    }
    const uint64_t begin = status.range.begin + status.done_bytes;
    const auto range = RegionRange::sized(begin, std::min(length, status.range.end - begin));
    return {first->id, status.region, range, range.end == status.range.end};
  }
  return {};
}

Scrubber::Job* Scrubber::job_of(const Step& step) {
  const auto found = jobs_.find(step.region);
  return found == jobs_.end() || found->second.id != step.job ? nullptr : &found->second;
}

void Scrubber::run() {
  pthread_setname_np(pthread_self(), "scrub");
  while (true) {
    Step step;
    {
      MutexLock lock(mutex_);
      step = next_step();
    }
    if (step.range.empty()) return;
    const MustAllocate not_lost;  // a waiter for the end would wait for ever
    ScrubStatus found;
    do_step(step, found);
    ScrubStatus done;
    {
      MutexLock lock(mutex_);
      Job* const job = job_of(step);
      if (job == nullptr) continue;
      ScrubStatus& status = job->status;
      status.done_bytes += step.range.length();
      status.found_bytes += found.found_bytes;
      status.failed += found.failed;
      done = status;
    }
    // Tells first, so that a caller that waited for the end finds the event.
    if (step.is_last) {
      tell_done(done);
      MutexLock lock(mutex_);
      if (Job* const job = job_of(step)) job->status.running = false;
    }
    if (ports_.on_progress) ports_.on_progress();
  }
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
