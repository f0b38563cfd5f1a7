#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "core/removal/look.h"
#include "daemon/verbs/json.h"
#include "daemon/verbs/lifecycle.h"
#include "daemon/verbs/verbs.h"

namespace pmemd {
namespace {

constexpr size_t kMaxListed = 4096;

// The device, and the filter on it. Null and nullopt: all.
struct Wanted {
  ConstDevicePtr device;
  std::optional<ReferenceFilter> only = {};
};

Result<Wanted> wanted_of(const MachineView& machine, const Call& call) {
  Wanted wanted;
  ReferenceFilter filter;
  const auto name = call.text("namespace"), file = call.text("file");
  if (name) {
    PMEMD_ASSIGN(wanted.device, machine.devices.find(*name));
    filter.ino = wanted.device->root_ino();
  }
  if (file) {
    PMEMD_ASSIGN(const auto found, machine.find_file(*file));
    if (wanted.device && wanted.device != found.first) {
      return fail(EINVAL, fmt::format("{}: not in {}", *file, *name), "one of the two is enough");
    }
    std::tie(wanted.device, filter.ino) = found;
  }
  if (!file && !call.number("offset") && !call.number("length")) return wanted;
  if (!file && wanted.device->content().root_type() == S_IFDIR) {
    return fail(EINVAL, fmt::format("{}: a range is of a file", *name), "name it with --file");
  }
  const uint64_t begin = std::min(call.number("offset").value_or(0), kWholeFile.end);
  const uint64_t length = call.number("length").value_or(kWholeFile.end);
  filter.range = {begin, begin + std::min(length, kWholeFile.end - begin)};
  wanted.only = filter;
  return wanted;
}

}  // namespace

HandlerResult mappers_verb(const MachineView& machine, const Call& call) {
  const auto all = machine.devices.all();  // keeps the devices alive while we look
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
    return device->state() == Device::State::kDisabled && device->claims().handle_count() == 0;
  });
  if (wanted.empty()) return Json{{"holders", Json::array()}};
  const auto looked = look_at_devices(wanted, known, machine.kernel);
  return Json{{"holders", holders_of(looked.reports)}};
}

HandlerResult refs_verb(const MachineView& machine, const Call& call) {
  PMEMD_ASSIGN(const Wanted wanted, wanted_of(machine, call));
  const auto& [device, only] = wanted;
  const auto known = paths_of(machine.kernel.holders({device.get()}));
  const auto list = device->references().list(kMaxListed, only);
  std::map<uint64_t, std::string> hints;
  for (const Reference& reference : list.references) {
    const auto hint = known.find(reference.ino);
    if (reference.ino != 0) hints.emplace(reference.ino, hint == known.end() ? "" : hint->second);
  }
  const auto paths = device->content().paths(hints);
  Json references = Json::array();
  for (const Reference& reference : list.references) {
    const auto path = paths.find(reference.ino);
    references.push_back(to_json(reference, path == paths.end() ? "" : path->second));
    if (reference.kind != ReferenceKind::kVolume) continue;
    const auto volume = machine.pool.volume_of(device->record().serial);
    if (volume) references.back()["what"] = volume->name();
  }
  const uint64_t unaccounted = device->references().unaccounted();
  Json reply = {{"namespace", device->record().name()},
                {"state", state_of(*device)},
                {"held", device->references().held() + unaccounted},
                {"unaccounted", unaccounted},
                {"abandoned", device->references().abandoned()}};
  reply["leases"] = list.count(ReferenceKind::kLease);
  reply["handles"] = list.count(ReferenceKind::kHandle);
  reply["mappings"] = list.count(ReferenceKind::kMapping);
  reply["takeovers"] = list.count(ReferenceKind::kTakeover);
  reply["pins"] = list.count(ReferenceKind::kPin);
  reply["requests"] = list.count(ReferenceKind::kRequest);
  reply["buffers"] = list.count(ReferenceKind::kBuffer);
  reply["pages"] = list.count(ReferenceKind::kPage);
  reply["volumes"] = list.count(ReferenceKind::kVolume);
  reply["holders"] = Json::array();
  for (const auto& [pid, counts] : list.by_holder) {
    Json holder = {{"pid", pid}, {"comm", comm_of(pid)}};
    for (const auto& [key, kind] : {std::pair("handles", ReferenceKind::kHandle),
                                    {"mappings", ReferenceKind::kMapping},
                                    {"takeovers", ReferenceKind::kTakeover},
                                    {"pins", ReferenceKind::kPin},
                                    {"requests", ReferenceKind::kRequest},
                                    {"buffers", ReferenceKind::kBuffer}}) {
      holder[key] = counts.at(static_cast<size_t>(kind));
    }
    reply["holders"].push_back(std::move(holder));
  }
  reply["references"] = std::move(references);
  reply["omitted"] = list.omitted;
  return reply;
}

}  // namespace pmemd
