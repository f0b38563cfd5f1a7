#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "core/base/memory.h"
#include "core/pool/pool.h"
#include "daemon/verbs/json.h"
#include "daemon/verbs/lifecycle.h"
#include "daemon/verbs/verbs.h"

namespace pmemd {
namespace {

using Devices = std::vector<DevicePtr>;

std::vector<Device*> enabled_of(std::span<const DevicePtr> devices) {
  std::vector<Device*> enabled;
  enabled.reserve(devices.size());
  for (const DevicePtr& device : devices) {
    if (device->state() != Device::State::kDisabled) enabled.push_back(device.get());
  }
  return enabled;
}

// Enables again what a failed change has disabled, as far as possible: a failure loses nothing.
void enable_again(Machine& machine, const std::vector<Device*>& devices) {
  const MustAllocate as_before;
  for (Device* device : devices) {
    if (device->state() == Device::State::kDisabled) (void)enable_device(machine, *device);
  }
}

// Disables idle devices. EBUSY: one isn't idle; all are as before.
Result<void> disable_idle(Machine& machine, const std::vector<Device*>& devices) {
  if (devices.empty()) return {};
  return remove_devices(devices, {}, machine.kernel, machine.events).result;
}

Result<Devices> find_legs(Machine& machine, const std::vector<std::string>& names) {
  Devices legs;
  legs.reserve(names.size());
  for (const std::string& name : names) {
    PMEMD_ASSIGN(DevicePtr leg, machine.devices.find(name));
    legs.push_back(std::move(leg));
  }
  return legs;
}

// The caller may operate on the legs. While a leg is enabled it may get its first file at any time,
// so this is called again when all are disabled.
Result<void> check_legs(Machine& machine, const Devices& legs) {
  for (const DevicePtr& leg : legs) {
    const std::string& name = leg->record().name();
    // A leg of a half-destroyed volume is free: create_volume() finishes the destruction.
    const auto volume = machine.pool.volume_of(leg->record().serial);
    if (volume && machine.pool.find_volume(volume->name())) {
      return fail(EBUSY, fmt::format("{}: it is a leg of {}", name, volume->name()),
                  "pmemctl destroy-volume " + volume->name());
    }
    PMEMD_ASSIGN(const bool used, machine.pool.has_files(leg->record().serial));
    if (used) {
      return fail(ENOTEMPTY, name + ": it has files, which a volume would overwrite",
                  "remove them first");
    }
  }
  return {};
}

// The volume is disabled. After a failure it exists as before, or is gone.
Result<void> destroy_device(Machine& machine, const DevicePtr& device) {
  const VolumeRecord& record = device->record().of_volume();
  auto destroyed = machine.pool.destroy_volume(record);
  const MustAllocate gone_or_as_before;
  const auto listed = machine.pool.find_volume(record.name());
  if (!destroyed && listed && listed->serial == record.serial) return destroyed;
  device->memory().free_legs();
  machine.devices.remove(device);
  machine.events.publish(EventKind::kDestroyed, record.name(), {0, record.data_bytes()});
  return destroyed;
}

Result<void> enable_all(Machine& machine, const Devices& legs, Device& volume) {
  for (const DevicePtr& leg : legs) PMEMD_TRY(enable_device(machine, *leg));
  return enable_device(machine, volume);
}

// The legs are disabled.
Result<DevicePtr> make_volume(Machine& machine, VolumeType type, uint64_t chunk_bytes,
                              const Devices& legs) {
  std::vector<uint64_t> serials;
  serials.reserve(legs.size());
  for (const DevicePtr& leg : legs) serials.push_back(leg->record().serial);
  PMEMD_ASSIGN(const VolumeRecord record, machine.pool.create_volume(type, chunk_bytes, serials));
  auto device = or_no_memory([&] { return machine.devices.add(record); });
  const MustAllocate enabled_or_as_before;
  if (!device) {
    (void)machine.pool.destroy_volume(record);
    return device;
  }
  machine.events.publish(EventKind::kCreated, record.name(), {0, record.data_bytes()});
  auto enabled = enable_all(machine, legs, **device);
  if (enabled) return device;
  if (!disable_idle(machine, enabled_of(legs))) {
    // An enabled leg can't be released.
    return fail(
        enabled.err(),
        fmt::format("{}: made, but not enabled: {}", record.name(), enabled.error().describe()),
        fmt::format("pmemctl enable-namespace {0}, or destroy-volume {0}", record.name()));
  }
  (void)destroy_device(machine, *device);  // as if it had never been
  return std::unexpected(std::move(enabled).error());
}

}  // namespace

HandlerResult create_volume_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const VolumeType type, parse_volume_type(call.text("type").value_or("linear")));
  const uint64_t chunk_bytes = call.number("chunk").value_or(
      type == VolumeType::kStriped ? VolumeTable::kDefaultChunkBytes : 0);
  PMEMD_ASSIGN(const Devices legs, find_legs(machine, call.texts("legs")));
  PMEMD_ASSIGN(const auto operation, machine.devices.begin_operation(legs));
  PMEMD_TRY(check_legs(machine, legs));
  const auto enabled = enabled_of(legs);
  PMEMD_TRY(disable_idle(machine, enabled));
  auto device = or_no_memory([&]() -> Result<DevicePtr> {
    PMEMD_TRY(check_legs(machine, legs));
    return make_volume(machine, type, chunk_bytes, legs);
  });
  const MustAllocate made_or_as_before;
  if (!device) {
    enable_again(machine, enabled);
    return std::unexpected(Refusal(std::move(device).error()));
  }
  return Json{{"volume", volume_to_json(**device, machine.pool)}};
}

HandlerResult destroy_volume_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const DevicePtr device, machine.devices.find(*call.text("volume")));
  const std::string& name = device->record().name();
  if (!device->record().is_volume()) {
    return std::unexpected(Refusal(Error{{EINVAL, std::generic_category()},
                                         name + ": it is no volume",
                                         "pmemctl destroy-namespace " + name}));
  }
  PMEMD_ASSIGN(const auto operation, machine.devices.begin_operation({device}));
  if (const auto above = machine.pool.volume_of(device->record().serial)) {
    return std::unexpected(Refusal(Error{{EBUSY, std::generic_category()},
                                         fmt::format("{}: it is a leg of {}", name, above->name()),
                                         "pmemctl destroy-volume " + above->name()}));
  }
  std::optional<MustAllocate> disabled;
  if (device->state() != Device::State::kDisabled) {
    if (!call.flag("force")) {
      return std::unexpected(
          Refusal(Error{{EBUSY, std::generic_category()},
                        name + ": enabled",
                        fmt::format("pmemctl disable-namespace {}, or use --force", name)}));
    }
    PMEMD_TRY(
        remove_devices({device.get()}, {.force = true}, machine.kernel, machine.events).result);
    disabled.emplace();
  }
  // Legs become empty namespaces again, enabled if they are enabled now.
  const auto legs = enabled_of(device->memory().legs());
  PMEMD_TRY(disable_idle(machine, legs));
  auto destroyed = or_no_memory([&] { return destroy_device(machine, device); });
  enable_again(machine, legs);
  if (!destroyed) return std::unexpected(Refusal(std::move(destroyed).error()));
  return Json();
}

Json volumes_to_json(const MachineView& machine, bool idle) {
  Json volumes = Json::array();
  for (const ConstDevicePtr& device : machine.devices.volumes()) {
    if (!idle && device->state() != Device::State::kLive) continue;
    volumes.push_back(volume_to_json(*device, machine.pool));
  }
  return volumes;
}

}  // namespace pmemd
