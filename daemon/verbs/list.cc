#include <unistd.h>

#include <ctime>
#include <utility>

#include "core/filesystem/check.h"
#include "core/pool/pool.h"
#include "daemon/host/dirty_limits.h"
#include "daemon/verbs/badblocks.h"
#include "daemon/verbs/json.h"
#include "daemon/verbs/verbs.h"

namespace pmemd {
namespace {

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

}  // namespace

HandlerResult list_verb(const MachineView& machine, const Call& call) {
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
    for (const ConstDevicePtr& device : machine.devices.namespaces()) {
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

HandlerResult status_verb(const MachineView& machine) {
  uint64_t enabled = 0, handles = 0, ranges = 0, bytes = 0, pins = 0, abandoned = 0;
  const auto devices = machine.devices.all();
  for (const ConstDevicePtr& device : devices) {
    enabled += device->state() == Device::State::kLive ? 1 : 0;
    handles += device->claims().handle_count();
    const auto lent = device->leases().totals();
    ranges += lent.ranges;
    bytes += lent.bytes;
    pins += device->claims().counts().pins;
    abandoned += device->references().abandoned();
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

HandlerResult check_verb(Machine& machine, const Call& /*call*/) {
  PMEMD_ASSIGN(const auto findings, check_pool(machine.pool));
  Json list = Json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"object", finding.object}, {"problem", finding.problem}});
  }
  return Json{{"findings", std::move(list)}};
}

}  // namespace pmemd
