#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/pool/pool.h"
#include "daemon/verbs/json.h"
#include "daemon/verbs/lifecycle.h"
#include "daemon/verbs/verbs.h"

namespace pmemd {
namespace {

FaultPoint fault_destroy_region("destroy-region.begin", "destroying a region that is idle");

// Whether the region may go, as far as can be checked before anybody is disturbed; the pool checks
// again.
Result<void> check_destroyable(const Machine& machine, const RegionRecord& region,
                               const std::vector<DevicePtr>& devices, bool force) {
  for (const DevicePtr& device : devices) {
    const DeviceRecord& record = device->record();
    if (const auto volume = machine.pool.volume_of(record.serial)) {
      return fail(
          EBUSY, fmt::format("{}: {} is a leg of {}", region.name(), record.name(), volume->name()),
          "pmemctl destroy-volume " + volume->name());
    }
  }
  if (devices.empty() || force) return {};
  const std::string first = devices.front()->record().name();
  return fail(EBUSY,
              devices.size() == 1 ? fmt::format("{}: {} is in it", region.name(), first)
                                  : fmt::format("{}: {} namespaces are in it, the first is {}",
                                                region.name(), devices.size(), first),
              fmt::format("pmemctl destroy-namespace {}, or use --force: all go with it", first));
}

}  // namespace

HandlerResult create_region_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(
      const RegionRecord region,
      machine.pool.create_region(
          *call.number("size"), call.flag("sparse") ? Reservation::kSparse : Reservation::kReserved,
          call.number("base")));
  const MustAllocate created;
  return Json{{"region", to_json(region, machine.pool.available(region.id))}};
}

HandlerResult destroy_region_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const RegionRecord region, machine.pool.find_region(*call.text("region")));
  PMEMD_ASSIGN(const auto taken, machine.devices.begin_operation_on_region(region.id));
  const auto& devices = taken.devices;
  PMEMD_TRY(check_destroyable(machine, region, devices, call.flag("force")));
  std::vector<uint64_t> serials;
  serials.reserve(devices.size());
  for (const DevicePtr& device : devices) serials.push_back(device->record().serial);
  std::optional<MustAllocate> disabled;
  if (std::ranges::any_of(devices, [](const DevicePtr& device) {
        return device->state() != Device::State::kDisabled;
      })) {
    PMEMD_ASSIGN(const auto reports, remove_all(machine, devices, {.force = true}));
    disabled.emplace();
  }
  PMEMD_TRY(fault_destroy_region.hit());
  auto destroyed = machine.pool.destroy_region(region, serials);
  const MustAllocate gone_or_as_before;
  for (const DevicePtr& device : devices) take_off_if_gone(machine, device);
  if (destroyed || !machine.pool.region(region.id)) {
    machine.scrubber.forget(region.id);
    machine.events.publish(EventKind::kDestroyed, region.name(), {0, region.size_bytes});
  }
  if (!destroyed) return std::unexpected(Refusal(std::move(destroyed).error()));
  return Json();
}

// Enables all that are disabled; a failure doesn't stop the others.
HandlerResult enable_region_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const RegionRecord region, machine.pool.find_region(*call.text("region")));
  PMEMD_ASSIGN(const auto taken, machine.devices.begin_operation_on_region(region.id));
  Result<void> first_error;
  for (const DevicePtr& device : taken.devices) {
    if (device->state() != Device::State::kDisabled) continue;
    auto enabled = enable_device(machine, *device);
    if (!enabled && first_error) first_error = std::move(enabled);
  }
  if (!first_error) return std::unexpected(Refusal(std::move(first_error).error()));
  return Json();
}

HandlerResult disable_region_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const RegionRecord region, machine.pool.find_region(*call.text("region")));
  PMEMD_ASSIGN(const auto taken, machine.devices.begin_operation_on_region(region.id));
  PMEMD_ASSIGN(const auto reports, remove_all(machine, taken.devices, removal_options(call)));
  const MustAllocate removed;
  Json list = Json::array();
  for (const RemovalReport& report : reports) list.push_back(to_json(report));
  return Json{{"reports", std::move(list)}};
}

}  // namespace pmemd
