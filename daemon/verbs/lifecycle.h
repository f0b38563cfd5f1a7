// What several verbs do to devices: enable, remove, take out of the table.
//
// Thread contract: daemon/verbs/machine.h; of devices whose Operation the caller has.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "daemon/verbs/machine.h"

namespace pmemd {

// Enables a device, shows it in the mount's root, and tells so. Errors of Device::enable().
Result<void> enable_device(Machine& machine, Device& device);

RemovalOptions removal_options(const Call& call);
// Errors of remove_devices(); a Refusal lists the holders and what is in the way.
std::expected<std::vector<RemovalReport>, Refusal> remove_all(Machine& machine,
                                                              const std::vector<DevicePtr>& devices,
                                                              const RemovalOptions& options);
Json holders_of(const std::vector<RemovalReport>& reports);

// Behind its destruction, which may have failed before the pool had it.
void take_off_if_gone(Machine& machine, const DevicePtr& device);

}  // namespace pmemd
