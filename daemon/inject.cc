#include "daemon/inject.h"

#include <algorithm>
#include <utility>

#include "core/region/media_errors.h"
#include "daemon/json.h"
#include "daemon/media_target.h"

namespace pmemd {
namespace {

Json to_json(const FailedFile& file) {
  return {{"namespace", file.name_of_namespace},
          {"file", path_in_namespace(file.path)},
          {"offset", file.range.begin},
          {"length", file.range.length()},
          {"metadata", file.is_metadata},
          {"handled", file.is_handled},
          {"told", file.told}};
}

// Who has it mapped, and what a touch gets: from the kernel, and raised by the client library.
Json holder_json(const Holder& holder, const FailureReport& report,
                 const NamespaceSettings& settings) {
  Json json = to_json(holder, report.name_of_namespace, true);
  json["code_with_client"] = "BUS_MCEERR_AR";
  if (settings.kill == KillPolicy::kEarly) json["early"] = "BUS_MCEERR_AO";
  return json;
}

Json failure_json(const FailureReport& report, const NamespaceSettings& settings) {
  Json json = {{"namespace", report.name_of_namespace},
               {"offset", report.range.begin},
               {"length", report.range.length()},
               {"seq", report.seq},
               {"bad_bytes", report.bad_bytes},
               {"pages_left", report.pages_left},
               {"shut_down", report.shut_down},
               {"files", Json::array()},
               {"holders", Json::array()}};
  for (const FailedFile& file : report.files) json["files"].push_back(to_json(file));
  for (const Holder& holder : report.holders) {
    json["holders"].push_back(holder_json(holder, report, settings));
  }
  return json;
}

}  // namespace

HandlerResult inject_error_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const MediaTarget target, media_target(machine.devices, call));
  const InjectOptions options = {.latent = call.flag("latent"), .saturate = call.flag("saturate")};
  const NamespaceSettings settings = target.device->settings();
  Json reports = Json::array();
  for (const DataRange& range : target.ranges) {
    PMEMD_ASSIGN(const FailureReport report,
                 call.flag("dry_run")
                     ? look_at_range(*target.device, range, machine.failure)
                     : inject_error(*target.device, range, options, machine.failure));
    reports.push_back(failure_json(report, settings));
  }
  return Json{{"reports", std::move(reports)}};
}

HandlerResult uninject_error_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const MediaTarget target, media_target(machine.devices, call));
  for (const DataRange& range : target.ranges) PMEMD_TRY(uninject_error(*target.device, range));
  return Json::object();
}

// What the platform would tell: `ndctl inject-error --status`.
HandlerResult injected_errors_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const DevicePtr device, machine.devices.find(*call.text("namespace")));
  RangeSet<DataSpace> sectors;
  for (const RegionRange& range :
       device->media_errors().injected(device->in_region({0, device->record().data_bytes()}))) {
    sectors.insert(sectors_of(device->in_data(range)));
  }
  Json blocks = Json::array();
  sectors.for_each([&](DataRange range) {
    blocks.push_back(
        {{"block", range.begin / kSectorSize}, {"count", range.length() / kSectorSize}});
  });
  return Json{{"badblocks", std::move(blocks)}};
}

HandlerResult clear_errors_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const MediaTarget target, media_target(machine.devices, call));
  uint64_t cleared = 0;
  for (const DataRange& range : target.ranges) {
    PMEMD_ASSIGN(const uint64_t bytes, clear_errors(*target.device, range));
    cleared += bytes;
  }
  return Json{{"namespace", target.device->record().name()}, {"cleared_bytes", cleared}};
}

}  // namespace pmemd
