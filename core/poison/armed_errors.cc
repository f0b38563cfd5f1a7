#include "core/poison/armed_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/base/memory.h"

namespace pmemd {
namespace {

bool touches(const ArmedError& error, DataRange range) {
  return std::ranges::any_of(error.ranges, [&](DataRange part) { return part.overlaps(range); });
}

size_t waiting_for_accesses(const std::vector<ArmedError>& armed) {
  return static_cast<size_t>(
      std::ranges::count_if(armed, [](const ArmedError& error) { return !error.after; }));
}

}  // namespace

ArmedErrors::ArmedErrors(FailurePorts ports, MediaObserver& findings, Worker& worker)
    : ports_(std::move(ports)), findings_(findings), worker_(worker) {}

ArmedErrors::~ArmedErrors() { worker_.cancel(this); }

Result<void> ArmedErrors::arm(ArmedError error) {
  if (error.ranges.empty() || error.nth == 0) return fail(EINVAL, "nothing to wait for");
  error.deadline = error.after ? deadline_after(*error.after) : Deadline::max();
  const Deadline deadline = error.deadline;
  {
    MutexLock lock(mutex_);
    if (armed_.size() >= kMaxArmed) {
      return fail(ENOSPC, fmt::format("{} errors are armed already", kMaxArmed),
                  "pmemctl inject-error NAME --uninject disarms them");
    }
    armed_.push_back(std::move(error));
    count_.store(waiting_for_accesses(armed_), std::memory_order_release);
  }
  set_off_at(deadline);
  return {};
}

uint64_t ArmedErrors::disarm(const Device& device, const DataRanges& ranges) {
  MutexLock lock(mutex_);
  const uint64_t disarmed = std::erase_if(armed_, [&](const ArmedError& error) {
    return error.device_ino == device.root_ino() &&
           std::ranges::any_of(ranges, [&](DataRange range) { return touches(error, range); });
  });
  count_.store(waiting_for_accesses(armed_), std::memory_order_release);
  return disarmed;
}

std::vector<ArmedError> ArmedErrors::list(const Device& device) const {
  std::vector<ArmedError> of_device;
  MutexLock lock(mutex_);
  for (const ArmedError& error : armed_) {
    if (error.device_ino == device.root_ino()) of_device.push_back(error);
  }
  return of_device;
}

void ArmedErrors::count_access(uint64_t device_ino, DataRange range, MediaAccess access) {
  const MustAllocate it_has_happened;
  std::vector<ArmedError> due;
  {
    MutexLock lock(mutex_);
    for (ArmedError& error : armed_) {
      const bool counts = error.device_ino == device_ino && !error.after &&
                          (!error.on || *error.on == access) && touches(error, range);
      if (counts && --error.nth == 0) due.push_back(error);
    }
    if (due.empty()) return;
    std::erase_if(armed_, [](const ArmedError& error) { return error.nth == 0; });
    count_.store(waiting_for_accesses(armed_), std::memory_order_release);
  }
  const auto device = ports_.device_of(device_ino);
  if (!device) return;
  for (const ArmedError& error : due) go_off(*device, error, /*in_request=*/true);
}

// In a request the kernel can't be asked for pages: the error is only recorded, and the observer of
// latent errors does the rest.
void ArmedErrors::go_off(Device& device, const ArmedError& error, bool in_request) {
  if (!in_request) {
    (void)inject_error(device, error.ranges, error.options, ports_);
    return;
  }
  const InjectOptions latent = {.latent = true, .saturate = error.options.saturate};
  if (!record_errors(device, error.ranges, latent) || error.options.latent) return;
  for (const DataRange& range : error.ranges) {
    findings_.on_latent(device.root_ino(), sectors_of(range));
  }
}

void ArmedErrors::set_off_at(Deadline deadline) {
  if (deadline == Deadline::max()) return;
  worker_.submit_once({.owner = this}, [this] { set_off_due(); }, deadline);
}

void ArmedErrors::set_off_due() {
  const MustAllocate they_have_happened;
  std::vector<ArmedError> due;
  Deadline next = Deadline::max();
  {
    MutexLock lock(mutex_);
    std::erase_if(armed_, [&, now = Clock::now()](const ArmedError& error) {
      if (error.deadline > now) return false;
      due.push_back(error);
      return true;
    });
    for (const ArmedError& error : armed_) next = std::min(next, error.deadline);
  }
  std::ranges::sort(due, {}, &ArmedError::deadline);
  for (const ArmedError& error : due) {
    // If it was destroyed meanwhile, nothing is there to go bad.
    if (const auto device = ports_.device_of(error.device_ino)) go_off(*device, error, false);
  }
  set_off_at(next);
}

}  // namespace pmemd
