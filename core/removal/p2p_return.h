// Brings buffers of a p2p pool from "returning" to free: takes their pages out of the kernel's page
// cache, waits for requests that may use them, and has them zeroed.
//
// Thread contract: any thread that serves no requests; also several at once.
#pragma once

#include <vector>

#include "core/base/error.h"
#include "core/device/device.h"
#include "core/removal/kernel_port.h"

namespace pmemd {

// Those that are returning now; of a device without a pool: none. ETIMEDOUT: requests are in flight
// at the deadline; any other: what the kernel said to an inval, or the image to zeros. What is left
// is returning still, and returns with the next call.
Result<void> return_buffers(Device& device, KernelPort& kernel, Deadline deadline);

// The last part of it, when the page cache has nothing of the device and no request is in flight.
Result<void> zero_returned_buffers(Device& device);

}  // namespace pmemd
