// Operations on devices that several verbs share: enable, remove, take out of the table.
//
// Thread contract: daemon/verbs/machine.h; the caller has the devices' Operation.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "daemon/verbs/machine.h"

namespace pmemd {

// Enables a device, shows it in the mount's root, and sends the event. Errors of Device::enable().
Result<void> enable_device(Machine& machine, Device& device);

RemovalOptions removal_options(const Call& call);
// Errors of remove_devices(); the Refusal lists the holders and what is in the way.
std::expected<std::vector<RemovalReport>, Refusal> remove_all(Machine& machine,
                                                              const std::vector<DevicePtr>& devices,
                                                              const RemovalOptions& options);
Json holders_of(const std::vector<RemovalReport>& reports);

// Call after destroying a device: takes it out of the table if the pool no longer has it.
void take_off_if_gone(Machine& machine, const DevicePtr& device);

}  // namespace pmemd
