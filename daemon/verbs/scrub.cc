#include "core/poison/scrub.h"

#include <fmt/format.h>

#include <utility>

#include "core/base/memory.h"
#include "daemon/verbs/badblocks.h"
#include "daemon/verbs/media_target.h"
#include "daemon/verbs/verbs.h"

namespace pmemd {
namespace {

Json to_json(const ScrubStatus& status) {
  return {{"region", RegionRecord{.id = status.region}.name()},
          {"offset", status.range.begin},
          {"length", status.range.length()},
          {"done", status.done_bytes},
          {"found", status.found_bytes},
          {"failed", status.failed},
          {"running", status.running}};
}

// All regions, if no object is named.
Result<std::vector<MediaObject>> objects_of(const Machine& machine, const Call& call) {
  std::vector<MediaObject> objects;
  if (const auto name = call.text("object")) {
    PMEMD_ASSIGN(auto object, find_media_object(machine.pool, machine.devices, *name));
    objects.push_back(std::move(object));
    return objects;
  }
  for (const RegionRecord& region : machine.pool.regions()) {
    objects.push_back(media_object(region));
  }
  return objects;
}

}  // namespace

HandlerResult start_scrub_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const auto objects, objects_of(machine, call));
  Json scrubs = Json::array();
  for (const MediaObject& object : objects) {
    PMEMD_ASSIGN(const auto part, wanted_range(call, object.name, object.range.length()));
    const auto range = RegionRange::sized(object.range.begin + part.begin, part.length());
    PMEMD_ASSIGN(const ScrubStatus status,
                 machine.scrubber.start(object.region, range, call.number("rate").value_or(0)));
    const MustAllocate it_runs;
    scrubs.push_back(to_json(status));
  }
  const MustAllocate they_run;
  return Json{{"scrubs", std::move(scrubs)}};
}

std::expected<Progress, Refusal> wait_scrub(Machine& machine, const Call& call) {
  std::optional<uint32_t> only;
  if (const auto name = call.text("object")) {
    PMEMD_ASSIGN(const auto object, find_media_object(machine.pool, machine.devices, *name));
    only = object.region;
  }
  Progress progress{.done = true};
  Json& scrubs = progress.parameters["scrubs"] = Json::array();
  for (const ScrubStatus& status : machine.scrubber.status()) {
    if (only && *only != status.region) continue;
    scrubs.push_back(to_json(status));
    if (status.running) progress.done = false;
  }
  return progress;
}

}  // namespace pmemd
