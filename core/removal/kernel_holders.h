// Files that the kernel itself has open: behind a loop device, below an overlay, exported, on its
// way through a socket. No process shows them in /proc, but each has a handle.
//
// Thread contract: as holders.h.
#pragma once

#include <sys/types.h>

#include <vector>

#include "core/device/device.h"
#include "core/removal/holders.h"

namespace pmemd {

// The handles of these devices that are open now: before a look at the processes.
std::vector<Reference> open_handles(const std::vector<const Device*>& devices);

// Adds to what the look has found who holds the others of `handles`, as far as they are open still.
// Holder::kernel is then "loop0", or "the kernel": in what way isn't known (without privilege it
// may be a process that the daemon can't see). The latter only of files that no process has, and
// while their opener lives: else it can't be told from one that has just ended. `device_number`:
// the mount's st_dev.
void add_kernel_holders(std::vector<Holder>& holders, const std::vector<Reference>& handles,
                        const std::vector<const Device*>& devices, dev_t device_number);

}  // namespace pmemd
