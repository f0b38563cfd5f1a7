#include "daemon/scrub.h"

#include <fmt/format.h>

#include <utility>

#include "core/removal/scrub.h"
#include "daemon/badblocks.h"

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

// All regions, where no object is named.
Result<std::vector<MediaObject>> objects_of(const Machine& machine, const Call& call) {
  std::vector<MediaObject> objects;
  if (const auto name = call.text("object")) {
    PMEMD_ASSIGN(auto object, find_media_object(machine, *name));
    objects.push_back(std::move(object));
    return objects;
  }
  for (const RegionRecord& region : machine.pool.regions()) {
    objects.push_back(media_object(region));
  }
  return objects;
}

Result<RegionRange> part_of(const MediaObject& object, const Call& call) {
  const uint64_t size = object.range.length();
  const uint64_t begin = call.number("offset").value_or(0);
  const uint64_t length = call.number("length").value_or(begin < size ? size - begin : 0);
  if (length == 0 || begin >= size || length > size - begin) {
    return fail(EINVAL, fmt::format("{}: {:#x} bytes at {:#x} are not within its {:#x}",
                                    object.name, length, begin, size));
  }
  return RegionRange::sized(object.range.begin + begin, length);
}

}  // namespace

HandlerResult start_scrub_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const auto objects, objects_of(machine, call));
  const bool has_range = call.number("offset") || call.number("length");
  if (has_range && !call.text("object")) {
    return std::unexpected(Refusal(fail(EINVAL, "a range: of which region or namespace?").error()));
  }
  Json scrubs = Json::array();
  for (const MediaObject& object : objects) {
    PMEMD_ASSIGN(const RegionRange range, part_of(object, call));
    PMEMD_ASSIGN(const ScrubStatus status,
                 machine.scrubber.start(object.region, range, call.number("rate").value_or(0)));
    scrubs.push_back(to_json(status));
  }
  return Json{{"scrubs", std::move(scrubs)}};
}

std::expected<Progress, Refusal> wait_scrub(Machine& machine, const Call& call) {
  std::optional<uint32_t> only;
  if (const auto name = call.text("object")) {
    PMEMD_ASSIGN(const auto object, find_media_object(machine, *name));
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
