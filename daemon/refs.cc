#include "daemon/refs.h"

#include <map>
#include <string>

#include "daemon/json.h"

namespace pmemd {
namespace {

constexpr size_t kMaxListed = 4096;

std::string_view state_of(const Device& device) {
  switch (device.state()) {
    case Device::State::kLive:
      return "enabled";
    case Device::State::kDying:
    case Device::State::kDead:
      return "dying";
    case Device::State::kDisabled:
      return "disabled";
  }
  return "unknown";
}

// By what path a process knows an inode now.
std::map<uint64_t, std::string> paths_of(Machine& machine, Device& device) {
  std::map<uint64_t, std::string> paths;
  for (const Holder& holder : machine.kernel.holders({&device})) {
    for (const Mapping& mapping : holder.mappings) paths[mapping.ino] = mapping.path;
    for (const OpenFile& file : holder.open_files) paths[file.ino] = file.path;
  }
  return paths;
}

}  // namespace

HandlerResult refs(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const DevicePtr device, machine.devices.find(*call.text("namespace")));
  const auto paths = paths_of(machine, *device);
  const ReferenceTable& table = device->references();
  const auto list = table.list(kMaxListed);
  Json references = Json::array();
  for (const Reference& reference : list.references) {
    const auto path = paths.find(reference.ino);
    references.push_back(to_json(reference, path == paths.end() ? "" : path->second));
  }
  const auto counts = table.counts();
  const auto count = [&](ReferenceKind kind) { return counts.at(static_cast<size_t>(kind)); };
  const uint64_t unaccounted = device->unaccounted_references();
  return Json{
      {"namespace", device->record().name()},        {"state", state_of(*device)},
      {"held", table.held() + unaccounted},          {"unaccounted", unaccounted},
      {"abandoned", device->abandoned_references()}, {"leases", count(ReferenceKind::kLease)},
      {"handles", count(ReferenceKind::kHandle)},    {"mappings", count(ReferenceKind::kMapping)},
      {"pins", count(ReferenceKind::kPin)},          {"requests", count(ReferenceKind::kRequest)},
      {"references", std::move(references)},         {"omitted", list.omitted}};
}

}  // namespace pmemd
