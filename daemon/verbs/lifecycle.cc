#include "daemon/verbs/lifecycle.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/base/memory.h"
#include "core/removal/target.h"
#include "daemon/verbs/json.h"

namespace pmemd {
namespace {

std::vector<Device*> pointers(const std::vector<DevicePtr>& devices) {
  std::vector<Device*> plain;
  plain.reserve(devices.size());
  for (const auto& device : devices) plain.push_back(device.get());
  return plain;
}

}  // namespace

Result<void> enable_device(Machine& machine, Device& device) {
  PMEMD_TRY(or_no_memory([&] { return device.enable(); }));
  const MustAllocate enabled;
  machine.kernel.show(device);
  // A leg's return concerns the mappers of files that lie on it.
  Target target(device);
  (void)target.find();  // mappers that it can't find aren't told
  target.tell(EventKind::kEnabled, machine.events);
  return {};
}

RemovalOptions removal_options(const Call& call) {
  RemovalOptions options = {.force = call.flag("force"),
                            .surprise = call.flag("surprise"),
                            .dry_run = call.flag("dry_run"),
                            .kill = call.flag("kill"),
                            .abandon = call.flag("abandon")};
  // A day is as good as forever, and can't overflow.
  constexpr uint64_t kMaxMs = 24 * 3600 * 1000;
  const auto ms = [&](const char* name) {
    return std::chrono::milliseconds(std::min(*call.number(name), kMaxMs));
  };
  if (call.number("wait_ms")) options.wait = ms("wait_ms");
  if (call.number("grace_ms")) options.grace = ms("grace_ms");
  if (call.number("drain_timeout_ms")) options.drain_timeout = ms("drain_timeout_ms");
  return options;
}

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

Json holders_of(const std::vector<RemovalReport>& reports) {
  Json holders = Json::array();
  for (const auto& report : reports) {
    for (const Holder& holder : report.holders) {
      holders.push_back(to_json(holder, report.name_of_namespace, false));
    }
  }
  return holders;
}

void take_off_if_gone(Machine& machine, const DevicePtr& device) {
  const NamespaceRecord& record = device->record().of_namespace();
  const auto listed = machine.pool.find_namespace(record.name());
  if (listed && listed->serial == record.serial) return;
  machine.devices.remove(device);
  machine.events.publish(EventKind::kDestroyed, record.name(), {0, record.data_bytes()});
}

}  // namespace pmemd
