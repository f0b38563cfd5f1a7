#include "daemon/verbs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <optional>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/filesystem/check.h"
#include "core/region/pool.h"
#include "core/removal/leg_users.h"
#include "core/removal/look.h"
#include "core/removal/removal.h"
#include "daemon/badblocks.h"
#include "daemon/configure.h"
#include "daemon/debug.h"
#include "daemon/dirty_limits.h"
#include "daemon/explain.h"
#include "daemon/inject.h"
#include "daemon/json.h"
#include "daemon/media_target.h"
#include "daemon/prefault.h"
#include "daemon/refs.h"
#include "daemon/scrub.h"
#include "daemon/volume_verbs.h"

namespace pmemd {
namespace {

FaultPoint fault_destroy("destroy.begin", "destroying a namespace that was disabled for it");
FaultPoint fault_destroy_region("destroy-region.begin", "destroying a region that is idle");

std::vector<Device*> pointers(const std::vector<DevicePtr>& devices) {
  std::vector<Device*> plain;
  plain.reserve(devices.size());
  for (const auto& device : devices) plain.push_back(device.get());
  return plain;
}

Json holders_of(const std::vector<RemovalReport>& reports) {
  Json holders = Json::array();
  for (const auto& report : reports) {
    for (const Holder& holder : report.holders) {
      holders.push_back(to_json(holder, report.name_of_namespace, false));
    }
  }
  return holders;
}

// A devdax as `ndctl list -X` shows it: the region of device-dax, with its one device.
void nest_dax_region(Json& json, const Device& device) {
  const NamespaceRecord& record = device.record().of_namespace();
  if (record.mode != NamespaceMode::kDevDax || !device.is_shown()) return;
  json.erase("chardev");
  json["daxregion"] = {{"id", record.region},
                       {"size", record.data_bytes()},
                       {"align", record.align},
                       {"devices", Json::array({{{"chardev", record.device_name()},
                                                 {"size", record.data_bytes()},
                                                 {"mode", "devdax"}}})}};
}

HandlerResult list(const MachineView& machine, const Call& call) {
  Json reply = Json::object();
  const bool idle = call.flag("idle"), media_errors = call.flag("media_errors");
  if (call.flag("regions")) {
    reply["regions"] = Json::array();
    for (const RegionRecord& region : machine.pool.regions()) {
      Json json = to_json(region, machine.pool.available(region.id));
      add_bad_blocks(json, machine.pool, media_object(region), media_errors);
      reply["regions"].push_back(std::move(json));
    }
  }
  if (call.flag("namespaces") || (!call.flag("regions") && !call.flag("volumes"))) {
    reply["namespaces"] = Json::array();
    for (const ConstDevicePtr& device : machine.devices.all()) {
      if (device->is_volume()) continue;
      if (!idle && device->state() != Device::State::kLive) continue;
      Json json = to_json(*device, machine.pool);
      if (call.flag("device_dax")) nest_dax_region(json, *device);
      add_bad_blocks(json, machine.pool, media_object(*device), media_errors);
      reply["namespaces"].push_back(std::move(json));
    }
  }
  if (call.flag("volumes")) reply["volumes"] = volumes_to_json(machine, idle);
  return reply;
}

HandlerResult status(const MachineView& machine) {
  uint64_t enabled = 0, handles = 0, ranges = 0, bytes = 0, pins = 0, abandoned = 0;
  const auto devices = machine.devices.all();
  for (const ConstDevicePtr& device : devices) {
    enabled += device->state() == Device::State::kLive ? 1 : 0;
    handles += device->handle_count();
    const auto lent = device->leases().totals();
    ranges += lent.ranges;
    bytes += lent.bytes;
    pins += device->claims().counts().pins;
    abandoned += device->abandoned_references();
  }
  const auto control = machine.control_stats();
  Json by_kind = Json::array();
  for (const auto& [kind, count] : machine.requests.by_kind()) {
    by_kind.push_back({{"kind", kind}, {"count", count}});
  }
  Json json{{"version", PMEMD_VERSION},
            {"pid", getpid()},
            {"pool", machine.pool.path()},
            {"mount", machine.mount_point},
            {"uptime_s", std::time(nullptr) - machine.started.tv_sec},
            {"privileged", geteuid() == 0},
            {"tuned", machine.is_tuned},
            {"regions", machine.pool.regions().size()},
            {"namespaces", machine.pool.namespaces().size()},
            {"enabled", enabled},
            {"requests", machine.requests.total()},
            {"requests_by_kind", std::move(by_kind)},
            {"open_handles", handles},
            {"lent_ranges", ranges},
            {"lent_bytes", bytes},
            {"pins", pins},
            {"abandoned", abandoned},
            {"subscribers", control.subscribers},
            {"events", machine.events.published()}};
  if (const uint64_t limit = host_dirty_background_bytes()) json["dirty_background_bytes"] = limit;
  return json;
}

HandlerResult create_region(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(
      const RegionRecord region,
      machine.pool.create_region(
          *call.number("size"), call.flag("sparse") ? Reservation::kSparse : Reservation::kReserved,
          call.number("base")));
  const MustAllocate created;
  return Json{{"region", to_json(region, machine.pool.available(region.id))}};
}

// Behind its destruction, which may have failed before the pool had it.
void take_off_if_gone(Machine& machine, const DevicePtr& device) {
  const NamespaceRecord& record = device->record().of_namespace();
  const auto listed = machine.pool.find_namespace(record.name());
  if (listed && listed->serial == record.serial) return;
  machine.devices.remove(device);
  machine.events.publish(EventKind::kDestroyed, record.name(), {0, record.data_bytes()});
}

// Of one that is disabled, whose Operation the caller has. After a failure it is there as before,
// or gone.
Result<void> destroy_device(Machine& machine, const DevicePtr& device) {
  const NamespaceRecord& record = device->record().of_namespace();
  auto destroyed = machine.pool.destroy_namespace(record);
  const MustAllocate gone_or_as_before;
  take_off_if_gone(machine, device);
  return destroyed;
}

HandlerResult create_namespace(Machine& machine, const Call& call) {
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

RemovalOptions removal_options(const Call& call) {
  RemovalOptions options = {.force = call.flag("force"),
                            .surprise = call.flag("surprise"),
                            .dry_run = call.flag("dry_run"),
                            .kill = call.flag("kill"),
                            .abandon = call.flag("abandon")};
  // A day is as good as for ever, and can't overflow.
  constexpr uint64_t kMaxMs = 24 * 3600 * 1000;
  const auto ms = [&](const char* name) {
    return std::chrono::milliseconds(std::min(*call.number(name), kMaxMs));
  };
  if (call.number("wait_ms")) options.wait = ms("wait_ms");
  if (call.number("grace_ms")) options.grace = ms("grace_ms");
  if (call.number("drain_timeout_ms")) options.drain_timeout = ms("drain_timeout_ms");
  return options;
}

// Of devices that the caller may operate on.
std::expected<std::vector<RemovalReport>, Refusal> remove_all(Machine& machine,
                                                              const std::vector<DevicePtr>& devices,
                                                              const RemovalOptions& options) {
  auto outcome = remove_devices(pointers(devices), options, machine.kernel, machine.events);
  if (outcome.result) return std::move(outcome.reports);
  Error error = std::move(outcome.result).error();
  if (error.err() == EBUSY && error.hint.empty()) {
    error.hint = "end these processes, or take it away from them with --force";
  }
  return std::unexpected(
      Refusal(std::move(error), Json{{"holders", holders_of(outcome.reports)},
                                     {"in_the_way", in_the_way_to_json(outcome.reports)}}));
}

HandlerResult disable_namespace(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const DevicePtr device, machine.devices.find(*call.text("namespace")));
  PMEMD_ASSIGN(const auto operation, machine.devices.begin_operation({device}));
  PMEMD_ASSIGN(const auto reports, remove_all(machine, {device}, removal_options(call)));
  const MustAllocate removed;
  return Json{{"report", to_json(reports.at(0))}};
}

HandlerResult disable_region(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const RegionRecord region, machine.pool.find_region(*call.text("region")));
  PMEMD_ASSIGN(const auto taken, machine.devices.begin_operation_on_region(region.id));
  PMEMD_ASSIGN(const auto reports, remove_all(machine, taken.devices, removal_options(call)));
  const MustAllocate removed;
  Json list = Json::array();
  for (const RemovalReport& report : reports) list.push_back(to_json(report));
  return Json{{"reports", std::move(list)}};
}

HandlerResult enable_namespace(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const DevicePtr device, machine.devices.find(*call.text("namespace")));
  PMEMD_ASSIGN(const auto operation, machine.devices.begin_operation({device}));
  PMEMD_TRY(enable_device(machine, *device));
  return Json();
}

// All that are disabled; one that can't be doesn't keep the others from it.
HandlerResult enable_region(Machine& machine, const Call& call) {
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

HandlerResult destroy_namespace(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const DevicePtr device, machine.devices.find(*call.text("namespace")));
  const DeviceRecord& record = device->record();
  // First: what is found out here is true until the namespace is gone.
  PMEMD_ASSIGN(const auto operation, machine.devices.begin_operation({device}));
  if (device->is_volume()) {
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

// Whether the region may go, as far as one can tell before anybody is disturbed: the pool looks
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

HandlerResult destroy_region(Machine& machine, const Call& call) {
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

HandlerResult mappers(const MachineView& machine, const Call& call) {
  const auto all = machine.devices.all();  // for as long as we look, they are there
  std::vector<const Device*> known, wanted;
  for (const ConstDevicePtr& device : all) known.push_back(device.get());
  if (const auto name = call.text("namespace")) {
    PMEMD_ASSIGN(const ConstDevicePtr device, machine.devices.find(*name));
    const auto found = std::ranges::find(known, device.get());
    if (found != known.end()) wanted.push_back(*found);
  } else {
    wanted = known;
  }
  std::erase_if(wanted, [](const Device* device) {
    return device->state() == Device::State::kDisabled && device->handle_count() == 0;
  });
  Json holders = Json::array();
  if (wanted.empty()) return Json{{"holders", std::move(holders)}};
  const auto looked = look_at_devices(wanted, known, machine.kernel);
  for (const RemovalReport& report : looked.reports) {
    for (const Holder& holder : report.holders) {
      holders.push_back(to_json(holder, report.name_of_namespace, false));
    }
  }
  return Json{{"holders", std::move(holders)}};
}

HandlerResult check(Machine& machine, const Call& /*call*/) {
  PMEMD_ASSIGN(const auto findings, check_pool(machine.pool));
  Json list = Json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"object", finding.object}, {"problem", finding.problem}});
  }
  return Json{{"findings", std::move(list)}};
}

}  // namespace

Result<void> enable_device(Machine& machine, Device& device) {
  PMEMD_TRY(or_no_memory([&] { return device.enable(); }));
  const MustAllocate enabled;
  machine.kernel.show(device);
  // A leg's return concerns the mappers of what lies on it.
  auto users = LegUsers::of(device, {});
  if (users && !users->find()) users.reset();
  announce(EventKind::kEnabled, device, machine.events, std::chrono::milliseconds(0), users.get());
  return {};
}

MachineView::MachineView(Machine& machine)
    : pool(machine.pool),
      devices(machine.devices),
      requests(machine.fuse.requests),
      started(machine.fuse.started),
      kernel(machine.kernel),
      events(machine.events),
      armed(machine.armed),
      mount_point(machine.mount_point),
      is_tuned(machine.is_tuned),
      control_stats(machine.control_stats),
      find_file([&machine](const std::string& file) -> Result<std::pair<ConstDevicePtr, uint64_t>> {
        PMEMD_ASSIGN(const FileTarget found, pmemd::find_file(machine, file));
        return std::pair(ConstDevicePtr(found.device), found.ino);
      }) {}

Handlers make_handlers(Machine& machine) {
  Handlers handlers;
  const auto look = [&](const char* name, auto verb) {
    handlers[name] = [&machine, verb](const Call& call, const Peer&) {
      const MachineView view(machine);
      if constexpr (std::is_invocable_v<decltype(verb), const MachineView&, const Call&>) {
        return verb(view, call);
      } else {
        return verb(view);
      }
    };
  };
  const auto add = [&](const char* name, auto verb) {
    handlers[name] = [&machine, verb](const Call& call, const Peer&) {
      return verb(machine, call);
    };
  };
  look("List", list);
  look("Status", status);
  look("Mappers", mappers);
  look("Refs", refs);
  look("Explain", explain);
  look("BadBlocks", bad_blocks_verb);
  look("Settings", settings_verb);
  look("InjectedErrors", injected_errors_verb);
  look("ListFaults", list_faults);
  add("CreateRegion", create_region);
  add("DestroyRegion", destroy_region);
  add("CreateNamespace", create_namespace);
  add("DestroyNamespace", destroy_namespace);
  add("CreateVolume", create_volume);
  add("DestroyVolume", destroy_volume);
  add("EnableNamespace", enable_namespace);
  add("EnableRegion", enable_region);
  add("DisableNamespace", disable_namespace);
  add("DisableRegion", disable_region);
  add("Prefault", prefault_verb);
  add("Configure", configure_verb);
  add("StartScrub", start_scrub_verb);
  add("InjectError", inject_error_verb);
  add("UninjectError", uninject_error_verb);
  add("ClearErrors", clear_errors_verb);
  add("Check", check);
  add("FailAt", fail_at);
  add("ClearFaults", clear_faults);
  return handlers;
}

}  // namespace pmemd
