#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <utility>

#include "core/base/memory.h"
#include "core/pool/media_errors.h"
#include "daemon/verbs/json.h"
#include "daemon/verbs/media_target.h"
#include "daemon/verbs/verbs.h"

namespace pmemd {
namespace {

Json to_json(const FailedFile& file) {
  return {{"namespace", file.name_of_namespace},
          {"file", file.path},
          {"offset", file.range.begin},
          {"length", file.range.length()},
          {"metadata", file.is_metadata},
          {"handled", file.is_handled},
          {"told", file.told}};
}

// A mapper, and the signals that a touch gets: from the kernel, and from the client library.
Json holder_json(const Holder& holder, const FailureReport& report,
                 const NamespaceSettings& settings) {
  Json json = to_json(holder, report.name_of_namespace, true);
  if (!json.contains("signal")) return json;
  json["code_with_client"] = "BUS_MCEERR_AR";
  if (settings.kill == KillPolicy::kEarly) json["early"] = "BUS_MCEERR_AO";
  return json;
}

Json ranges_json(const DataRanges& ranges) {
  Json json = Json::array();
  for (const DataRange& range : ranges) {
    json.push_back({{"offset", range.begin}, {"length", range.length()}});
  }
  return json;
}

Json failure_json(const FailureReport& report, const NamespaceSettings& settings) {
  Json json = {{"namespace", report.name_of_namespace},
               {"ranges", ranges_json(report.ranges)},
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

constexpr size_t kMaxListed = 65'536;  // blocks in InjectedErrors

constexpr std::array kAccesses = {std::pair(MediaAccess::kRead, "read"),
                                  std::pair(MediaAccess::kWrite, "write"),
                                  std::pair(MediaAccess::kWriteback, "writeback")};

Result<std::optional<MediaAccess>> parse_access(const std::string& text) {
  if (text == "any") return std::optional<MediaAccess>();
  for (const auto& [access, name] : kAccesses) {
    if (text == name) return std::optional(access);
  }
  return fail(EINVAL, fmt::format("on '{}': none of read, write, writeback, any", text));
}

Json armed_json(const ArmedError& error) {
  Json json = {{"ranges", ranges_json(error.ranges)}};
  if (error.after) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(error.deadline - Clock::now());
    json["after_ms"] = std::max<int64_t>(left.count(), 0);
    return json;
  }
  json["nth"] = error.nth;
  json["on"] = "any";
  for (const auto& [access, name] : kAccesses) {
    if (error.on == access) json["on"] = name;
  }
  return json;
}

HandlerResult arm_error(Machine& machine, const MediaTarget& target, const Call& call) {
  const auto after_ms = call.number("after_ms");
  PMEMD_TRY(target.device->content().check_mapped());
  ArmedError error = {.device_ino = target.device->root_ino(),
                      .ranges = target.ranges,
                      .options = {.latent = call.flag("latent"), .saturate = call.flag("saturate")},
                      .on = std::nullopt,
                      .nth = call.number("nth").value_or(1),
                      .after = std::nullopt};
  PMEMD_ASSIGN(error.on, parse_access(call.text("on").value_or("any")));
  constexpr uint64_t kMaxMs = uint64_t{365} * 24 * 3600 * 1000;
  if (after_ms) error.after = std::chrono::milliseconds(std::min(*after_ms, kMaxMs));
  Json armed = Json::array();
  if (error.after) error.deadline = deadline_after(*error.after);
  armed.push_back(armed_json(error));
  PMEMD_TRY(machine.armed.arm(std::move(error)));
  const MustAllocate is_armed;
  return Json{{"reports", Json::array()}, {"armed", std::move(armed)}};
}

}  // namespace

HandlerResult inject_error_verb(Machine& machine, const Call& call) {
  if (const auto name = call.text("namespace")) {
    PMEMD_ASSIGN(DevicePtr device, machine.devices.find(*name));
    write_back_stores(machine, std::move(device));
  }
  PMEMD_ASSIGN(const MediaTarget target, media_target(machine, call));
  if (call.number("nth") || call.number("after_ms") || call.text("on")) {
    const auto memory = memory_of(machine, target);
    if (memory.size() == 1) return arm_error(machine, memory.front(), call);
    return fail(EINVAL,
                fmt::format("{}: the range lies on {} legs, and an error that waits lies on one",
                            target.device->record().name(), memory.size()),
                "name a part of it, or the legs themselves");
  }
  const InjectOptions options = {.latent = call.flag("latent"), .saturate = call.flag("saturate")};
  const NamespaceSettings settings = target.device->settings();
  Json reports = Json::array();
  for (const MediaTarget& memory : memory_of(machine, target)) {
    PMEMD_ASSIGN(const FailureReport report,
                 call.flag("dry_run")
                     ? look_at_ranges(*memory.device, memory.ranges, machine.failure)
                     : inject_error(*memory.device, memory.ranges, options, machine.failure));
    const MustAllocate it_has_happened;
    reports.push_back(failure_json(report, settings));
  }
  const MustAllocate they_have_happened;
  return Json{{"reports", std::move(reports)}};
}

HandlerResult uninject_error_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const MediaTarget target, media_target(machine, call));
  for (const MediaTarget& memory : memory_of(machine, target)) {
    machine.armed.disarm(*memory.device, memory.ranges);  // first, or it might go off meanwhile
    const MustAllocate it_is_disarmed;
    PMEMD_TRY(uninject_error(*memory.device, memory.ranges));
  }
  return Json();
}

// What the platform would report: `ndctl inject-error --status`.
HandlerResult injected_errors_verb(const MachineView& machine, const Call& call) {
  PMEMD_ASSIGN(const ConstDevicePtr device, machine.devices.find(*call.text("namespace")));
  RangeSet<DataSpace> sectors;
  const DataRange all = {0, device->record().data_bytes()};
  for (const DataRange& range : device->memory().errors(DeviceMemory::ErrorKind::kInjected, all)) {
    sectors.insert(sectors_of(range));
  }
  Json blocks = Json::array();
  uint64_t omitted = 0;
  sectors.for_each([&](DataRange range) {
    if (blocks.size() == kMaxListed) {
      ++omitted;
      return;
    }
    blocks.push_back(
        {{"block", range.begin / kSectorSize}, {"count", range.length() / kSectorSize}});
  });
  Json reply = {{"badblocks", std::move(blocks)}, {"omitted", omitted}};
  Json armed = Json::array();
  for (const ArmedError& error : machine.armed.list(*device)) armed.push_back(armed_json(error));
  if (!armed.empty()) reply["armed"] = std::move(armed);
  return reply;
}

HandlerResult clear_errors_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const MediaTarget target, media_target(machine, call));
  uint64_t cleared = 0;
  for (const MediaTarget& memory : memory_of(machine, target)) {
    PMEMD_ASSIGN(const uint64_t bytes, clear_errors(*memory.device, memory.ranges));
    cleared += bytes;
  }
  const MustAllocate they_are_cleared;
  return Json{{"namespace", target.device->record().name()}, {"cleared_bytes", cleared}};
}

}  // namespace pmemd
