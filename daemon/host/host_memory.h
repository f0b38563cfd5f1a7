// How much memory the host has, and how much is available.
//
// Thread contract: any thread.
#pragma once

#include <cstdint>

#include "core/base/error.h"

namespace pmemd {

struct HostMemory {
  uint64_t total_bytes = 0;
  uint64_t available_bytes = 0;  // without swapping, as the kernel estimates it
};

// From /proc/meminfo. EIO: it is missing, or lacks a value.
Result<HostMemory> host_memory();

}  // namespace pmemd
