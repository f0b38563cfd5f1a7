// Moves buffers of a p2p pool from "returning" to free: takes their pages out of the kernel's page
// cache, waits for requests that may use them, and zeroes them.
//
// Thread contract: any thread that serves no requests; several at once are allowed.
#pragma once

#include <vector>

#include "core/base/error.h"
#include "core/device/device.h"
#include "core/removal/kernel_port.h"

namespace pmemd {

// Frees the buffers that are returning now; without a pool, does nothing. ETIMEDOUT: requests are
// in flight at the deadline; any other: the error of an inval, or of zeroing the image. Buffers
// that are left stay returning until the next call.
Result<void> return_buffers(Device& device, KernelPort& kernel, Deadline deadline);

// Only the last step. The page cache has nothing of the device, and no request is in flight.
Result<void> zero_returned_buffers(Device& device);

}  // namespace pmemd
