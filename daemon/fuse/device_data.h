// What is read and written in the one file of a devdax, private or p2p namespace.
//
// Thread contract: any thread, with a request that was admitted.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/device/device.h"
#include "daemon/fuse/context.h"

namespace pmemd {

// Of a devdax or p2p: as much of the range as the file has. EIO: part of it is bad, or in no
// buffer.
Result<std::vector<iovec>> read_device_file(const Device::Request& request, FileRange range,
                                            Media::Reader reader);

// Answers a READ of private memory; pages on the device come back.
void reply_private_read(fuse_req_t req, const Device::Request& request, FileRange range);

// Of all three: how many bytes. `is_writeback`: the kernel writes back what was stored before.
// ENOSPC: behind the end. EIO: part of it is in no buffer. ENOMEM: no system memory.
Result<size_t> write_device_file(const Device::Request& request, uint64_t offset,
                                 std::span<const std::byte> data, bool is_writeback);

}  // namespace pmemd
