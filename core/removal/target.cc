#include "core/removal/target.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/base/memory.h"
#include "core/removal/fates.h"

namespace pmemd {
namespace {

// The outermost volume in use that stands on the device; null: there is none.
Device* outermost_volume(Device& device) {
  Device* outermost = nullptr;
  Device* at = &device;
  while (at->is_used_by_volume()) at = outermost = at->above();
  return outermost;
}

bool is_among(const Device* device, const auto& devices) {
  return std::ranges::find(devices, device) != devices.end();
}

Device* volume_above(Device& device, const std::vector<Device*>& going) {
  Device* const volume = outermost_volume(device);
  return volume == nullptr || is_among(volume, going) ? nullptr : volume;
}

MapperEventKind to_mappers(EventKind kind) {
  if (kind == EventKind::kPreRemove) return MapperEventKind::kPreRemove;
  return kind == EventKind::kRemoved ? MapperEventKind::kRemoved : MapperEventKind::kEnabled;
}

}  // namespace

TargetView::TargetView(const Device& device, const Device* volume)
    : device_(device), volume_(volume) {
  if (!is_leg()) ranges_.add_all(device);
}

Result<void> TargetView::find() {
  if (!is_leg()) return {};
  FailedParts parts;
  PMEMD_TRY(device_.dax().notify_failure({DaxDevice::kWholeDevice}, kMfMemPreRemove, parts));
  ranges_.clear();
  for (const FailedPart& part : parts) {
    if (!part.is_metadata) ranges_.add(*volume_, part.ino, part.file);
  }
  return {};
}

void TargetView::note_holders(RemovalReport& report, const std::vector<Holder>& holders) const {
  join_looks(report.holders, ranges_.held(holders));
  const auto lent = ranges_.lent_totals();
  report.lent_ranges = lent.ranges;
  report.lent_bytes = lent.bytes;
  ranges_.count_present(report.holders, /*keep=*/true);
}

Target::Target(Device& device, const std::vector<Device*>& going)
    : Target(volume_above(device, going), device) {}

Target::Target(Device* volume, Device& device)
    : TargetView(device, volume),
      device_(device),
      files_of_(volume != nullptr ? *volume : device),
      lost_before_(is_leg() ? files_of_.health().lost_writebacks() : 0) {}

uint64_t Target::tell(EventKind kind, EventBus& events,
                      std::chrono::milliseconds answer_within) const {
  const MustAllocate it_has_happened;
  const auto now = std::chrono::system_clock::now();
  const DeviceRecord& record = device_.record();
  const uint64_t seq = events.publish(kind, record.name(), {0, record.data_bytes()});
  const MapperNotice notice{
      .kind = to_mappers(kind), .seq = seq, .time = now, .answer_within = answer_within};
  device_.content().tell_all(notice);
  if (is_leg()) {
    for (const uint64_t ino : ranges().files()) {
      for (const FileRange& range : ranges().ranges(ino)) {
        files_of_.handles().events().tell(ino, range, notice);
      }
    }
  }
  return seq;
}

void Target::give_back() {
  if (!is_leg()) return device_.leases().give_back_all();
  for (const uint64_t ino : ranges().files()) {
    for (const FileRange& range : ranges().ranges(ino)) files_of_.leases().give_back(ino, range);
  }
}

// Looks each volume up in `known` before touching it: it may have been destroyed meanwhile, and
// replaced by another.
const Device* volume_that_stays(const Device& leg, const std::vector<const Device*>& going,
                                const std::vector<const Device*>& known) {
  const Device* outermost = nullptr;
  for (const Device* above = leg.above();
       above != nullptr && is_among(above, known) && above->memory().uses_legs();
       above = above->above()) {
    outermost = above;
  }
  return outermost == nullptr || is_among(outermost, going) ? nullptr : outermost;
}

Result<void> check_no_leg_in_use(const std::vector<Device*>& going) {
  for (Device* device : going) {
    const Device* const volume = volume_above(*device, going);
    if (volume == nullptr) continue;
    return fail(
        EBUSY,
        fmt::format("{}: in use by {}", device->record().name(), device->above()->record().name()),
        fmt::format("pmemctl disable-namespace {}, or take it away with --force",
                    volume->record().name()));
  }
  return {};
}

}  // namespace pmemd
