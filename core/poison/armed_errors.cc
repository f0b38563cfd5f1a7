#include "core/poison/armed_errors.h"

#include <fmt/format.h>
#include <pthread.h>

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

ArmedErrors::ArmedErrors(FailurePorts ports, MediaObserver& findings)
    : ports_(std::move(ports)), findings_(findings), thread_([this] { run(); }) {}

ArmedErrors::~ArmedErrors() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    armed_cv_.notify_all();
  }
  thread_.join();
}

Result<void> ArmedErrors::arm(ArmedError error) {
  if (error.ranges.empty() || error.nth == 0) return fail(EINVAL, "nothing to wait for");
  if (error.after) error.deadline = deadline_after(*error.after);
  MutexLock lock(mutex_);
  if (armed_.size() >= kMaxArmed) {
    return fail(ENOSPC, fmt::format("{} errors are armed already", kMaxArmed),
                "pmemctl inject-error NAME --uninject disarms them");
  }
  armed_.push_back(std::move(error));
  count_.store(waiting_for_accesses(armed_), std::memory_order_release);
  armed_cv_.notify_all();
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

void ArmedErrors::run() {
  pthread_setname_np(pthread_self(), "armed-errors");
  while (true) {
    ArmedError due;
    {
      MutexLock lock(mutex_);
      auto next = armed_.end();
      while (!stop_) {
        next = armed_.end();
        for (auto it = armed_.begin(); it != armed_.end(); ++it) {
          if (it->after && (next == armed_.end() || it->deadline < next->deadline)) next = it;
        }
        if (next == armed_.end()) {
          armed_cv_.wait(mutex_);
        } else if (next->deadline > Clock::now()) {
          (void)armed_cv_.wait_until(mutex_, next->deadline);
        } else {
          break;
        }
      }
      if (stop_) return;
      due = std::move(*next);
      armed_.erase(next);
    }
    const MustAllocate it_has_happened;
    // If it was destroyed meanwhile, nothing is there to go bad.
    if (const auto device = ports_.device_of(due.device_ino)) go_off(*device, due, false);
  }
}

}  // namespace pmemd
