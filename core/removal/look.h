// Finds who holds what of devices now, for a dry run and `pmemctl mappers`. It can't change
// anything: all its arguments are const. So it needs no right to operate on the devices, and a
// removal may be in progress.
//
// Thread contract: any thread that serves no requests.
#pragma once

#include <vector>

#include "core/device/device.h"
#include "core/removal/kernel_port.h"
#include "core/removal/removal.h"
#include "core/removal/target.h"

namespace pmemd {

// One report per device, in any state. `known`: all Devices that the caller has, including these; a
// leg's volume is looked at only if it is among them. The result is the first error in finding the
// files on a leg; the reports have what could be found all the same.
RemovalOutcome look_at_devices(const std::vector<const Device*>& devices,
                               const std::vector<const Device*>& known, const KernelPort& kernel);

// Notes in reports[i] who holds what of targets[i]. The targets have found their ranges.
void note_who_holds(std::vector<RemovalReport>& reports,
                    const std::vector<const TargetView*>& targets, const KernelPort& kernel);

}  // namespace pmemd
