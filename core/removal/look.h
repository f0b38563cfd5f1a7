// Who holds what of devices, now: what a dry run and `pmemctl mappers` tell. Changes nothing, and
// can't: all that it gets is const. So it wants no right to operate on the devices, and a removal
// may be under way.
//
// Thread contract: any thread that serves no requests.
#pragma once

#include <vector>

#include "core/device/device.h"
#include "core/removal/kernel_port.h"
#include "core/removal/removal.h"
#include "core/removal/target.h"

namespace pmemd {

// A report a device, in any state. `known`: all Devices that the caller has, these among them; the
// volume of a leg is one of them, or isn't looked at. The result: the first error of those who were
// asked which files lie on a leg; what could be found is told all the same.
RemovalOutcome look_at_devices(const std::vector<const Device*>& devices,
                               const std::vector<const Device*>& known, const KernelPort& kernel);

// Notes in reports[i] who holds what of targets[i], which has found its ranges.
void note_who_holds(std::vector<RemovalReport>& reports,
                    const std::vector<const TargetView*>& targets, const KernelPort& kernel);

}  // namespace pmemd
