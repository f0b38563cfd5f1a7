#include <fmt/format.h>

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

FaultPoint fault_destroy("destroy.begin", "destroying a namespace that was disabled for it");

// The namespace is disabled, and the caller has its Operation. After a failure it exists as before,
// or is gone.
Result<void> destroy_device(Machine& machine, const DevicePtr& device) {
  const NamespaceRecord& record = device->record().of_namespace();
  auto destroyed = machine.pool.destroy_namespace(record);
  const MustAllocate gone_or_as_before;
  take_off_if_gone(machine, device);
  return destroyed;
}

}  // namespace

HandlerResult create_namespace_verb(Machine& machine, const Call& call) {
  CreateNamespace want;
  want.size_bytes = call.number("size");
  if (const auto region = call.text("region")) {
    PMEMD_ASSIGN(const RegionRecord found, machine.pool.find_region(*region));
    want.region = found.id;
  }
  if (const auto mode = call.text("mode")) {
    PMEMD_ASSIGN(want.mode, parse_namespace_mode(*mode));
  }
  if (const auto align = call.number("align")) want.align = *align;

  PMEMD_ASSIGN(const NamespaceRecord record, machine.pool.create_namespace(want));
  auto added = or_no_memory([&] { return machine.devices.add(record); });
  const MustAllocate enabled_or_as_before;
  if (!added) {
    (void)machine.pool.destroy_namespace(record);
    return std::unexpected(Refusal(std::move(added).error()));
  }
  const DevicePtr& device = added->devices.front();
  machine.events.publish(EventKind::kCreated, record.name(), {0, record.data_bytes()});
  if (auto enabled = enable_device(machine, *device); !enabled) {
    (void)destroy_device(machine, device);  // as if it had never been
    return std::unexpected(Refusal(std::move(enabled).error()));
  }
  return Json{{"namespace", to_json(*device, machine.pool)}};
}

HandlerResult disable_namespace_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const DevicePtr device, machine.devices.find(*call.text("namespace")));
  PMEMD_ASSIGN(const auto operation, machine.devices.begin_operation({device}));
  PMEMD_ASSIGN(const auto reports, remove_all(machine, {device}, removal_options(call)));
  const MustAllocate removed;
  return Json{{"report", to_json(reports.at(0))}};
}

HandlerResult enable_namespace_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const DevicePtr device, machine.devices.find(*call.text("namespace")));
  PMEMD_ASSIGN(const auto operation, machine.devices.begin_operation({device}));
  PMEMD_TRY(enable_device(machine, *device));
  return Json();
}

HandlerResult destroy_namespace_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const DevicePtr device, machine.devices.find(*call.text("namespace")));
  const DeviceRecord& record = device->record();
  // First, so that the checks below stay true until the namespace is gone.
  PMEMD_ASSIGN(const auto operation, machine.devices.begin_operation({device}));
  if (device->record().is_volume()) {
    return std::unexpected(Refusal(Error{{EINVAL, std::generic_category()},
                                         record.name() + ": it is a volume",
                                         "pmemctl destroy-volume " + record.name()}));
  }
  if (const auto volume = machine.pool.volume_of(record.serial)) {
    return std::unexpected(
        Refusal(Error{{EBUSY, std::generic_category()},
                      fmt::format("{}: it is a leg of {}", record.name(), volume->name()),
                      "pmemctl destroy-volume " + volume->name()}));
  }
  std::optional<MustAllocate> disabled;
  if (device->state() != Device::State::kDisabled) {
    if (!call.flag("force")) {
      return std::unexpected(Refusal(
          Error{{EBUSY, std::generic_category()},
                fmt::format("{}: enabled", record.name()),
                fmt::format("pmemctl disable-namespace {}, or use --force", record.name())}));
    }
    PMEMD_ASSIGN(const auto reports, remove_all(machine, {device}, {.force = true}));
    disabled.emplace();
  }
  PMEMD_TRY(fault_destroy.hit());
  PMEMD_TRY(destroy_device(machine, device));
  return Json();
}

}  // namespace pmemd
