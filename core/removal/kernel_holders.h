// Files that the kernel itself has open: behind a loop device, below an overlay, exported, or in
// flight through a socket. No process shows them in /proc, but each has a handle.
//
// Thread contract: as holders.h.
#pragma once

#include <sys/types.h>

#include <vector>

#include "core/device/device.h"
#include "core/removal/holders.h"

namespace pmemd {

// The handles of these devices that are open now. Call it before a look at the processes.
std::vector<Reference> open_handles(const std::vector<const Device*>& devices);

// Adds to the look's `holders` the holders of the other `handles`, if these are still open.
// Holder::kernel is then "loop0", or "the kernel" if the way isn't known (without privilege it may
// be a process that the daemon can't see). "the kernel" is added only for files that no process
// has, and while their opener lives: otherwise it can't be told from a process that has just ended.
// `device_number`: the mount's st_dev.
void add_kernel_holders(std::vector<Holder>& holders, const std::vector<Reference>& handles,
                        const std::vector<const Device*>& devices, dev_t device_number);

}  // namespace pmemd
