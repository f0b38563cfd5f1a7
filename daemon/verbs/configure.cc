#include <utility>

#include "core/base/memory.h"
#include "core/pool/settings.h"
#include "daemon/verbs/verbs.h"

namespace pmemd {
namespace {

Json settings_json(const Device& device) {
  const NamespaceSettings settings = device.settings();
  Json list = Json::array();
  for (const SettingInfo& info : setting_infos()) {
    list.push_back({{"name", info.name},
                    {"value", value_of(settings, info.name)},
                    {"values", info.values},
                    {"help", info.help}});
  }
  return Json{{"namespace", device.record().name()}, {"settings", std::move(list)}};
}

}  // namespace

HandlerResult settings_verb(const MachineView& machine, const Call& call) {
  PMEMD_ASSIGN(const ConstDevicePtr device, machine.devices.find(*call.text("namespace")));
  return settings_json(*device);
}

HandlerResult configure_verb(Machine& machine, const Call& call) {
  PMEMD_ASSIGN(const DevicePtr device, machine.devices.find(*call.text("namespace")));
  std::vector<SettingChange> changes;
  if (const auto profile = call.text("profile")) {
    PMEMD_ASSIGN(changes, settings_of_profile(*profile));
  }
  // After the profile's settings, because the last one wins.
  PMEMD_ASSIGN(auto more, parse_settings(call.text("settings").value_or("")));
  changes.insert(changes.end(), more.begin(), more.end());
  PMEMD_ASSIGN(const auto operation, machine.devices.begin_operation({device}));
  PMEMD_TRY(machine.pool.set_settings(device->record().serial, changes));
  const MustAllocate recorded;
  device->memory().apply_settings();
  return settings_json(*device);
}

}  // namespace pmemd
