#include "core/removal/leg_users.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace pmemd {
namespace {

// The outermost enabled volume that stands on the device; null: none does.
Device* outermost_volume(Device& device) {
  Device* outermost = nullptr;
  Device* at = &device;
  while (at->is_used_by_volume()) at = outermost = at->above();
  return outermost;
}

bool is_among(const Device* device, const std::vector<Device*>& devices) {
  return std::ranges::find(devices, device) != devices.end();
}

}  // namespace

std::unique_ptr<LegUsers> LegUsers::of(Device& leg, const std::vector<Device*>& going) {
  Device* const volume = outermost_volume(leg);
  if (volume == nullptr || is_among(volume, going)) return nullptr;
  return std::unique_ptr<LegUsers>(new LegUsers(leg, *volume));
}

void LegUsers::tell(const MapperNotice& notice) const {
  for (const auto& [ino, failed] : ranges_by_file()) {
    for (const FileRange& range : failed.ranges()) {
      volume_.mapper_events().tell(ino, range, notice);
    }
  }
}

uint64_t LegUsers::flush(KernelPort& kernel) const {
  uint64_t flushed = 0;
  for (const auto& [ino, failed] : ranges_by_file()) {
    // As of a whole device: only stores through a mapping dirty pages behind our back.
    if (!volume_.has_writer(ino)) continue;
    bool done = true;
    for (const FileRange& range : failed.ranges()) done = kernel.flush(ino, range) && done;
    if (done) ++flushed;
  }
  return flushed;
}

Result<void> LegUsers::revoke(KernelPort& kernel) const {
  for (const auto& [ino, failed] : ranges_by_file()) {
    for (const FileRange& range : failed.ranges()) {
      auto result = kernel.inval(ino, range);
      if (result.err() == ENOENT) break;  // the kernel doesn't know the file
      if (!result) return result;
    }
  }
  return {};
}

void LegUsers::give_back() {
  for (const auto& [ino, failed] : ranges_by_file()) {
    for (const FileRange& range : failed.ranges()) volume_.leases().give_back(ino, range);
  }
}

Result<void> check_no_leg_in_use(const std::vector<Device*>& going) {
  for (Device* device : going) {
    const Device* const volume = outermost_volume(*device);
    if (volume == nullptr || is_among(volume, going)) continue;
    return fail(
        EBUSY,
        fmt::format("{}: in use by {}", device->record().name(), device->above()->record().name()),
        fmt::format("pmemctl disable-namespace {}, or take it away with --force",
                    volume->record().name()));
  }
  return {};
}

}  // namespace pmemd
