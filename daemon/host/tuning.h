// The kernel's limits for our mount's page cache.
//
// By default a FUSE mount may hold 1 % of the dirty limit, strictly enforced: a client that stores
// through a mapping is throttled to a fraction of memory's speed. Root may raise that for the
// mount. These limits belong to the mount's own bdi: they end with it, and nothing needs restoring
// (mm/backing-dev.c bdi_unregister(); only min_ratio is summed over all, and isn't touched).
//
// In a control group with limited memory they stay below that. Programs in the same group could
// fill all of it with pages that wait for us to write them back; we need memory for that, and the
// kernel's reclaim, in our thread, would wait for those same pages (cgroup version 1,
// mm/vmscan.c shrink_folio_list() @v6.12).
//
// Thread contract: no state; call these before or after the mount serves.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "core/base/error.h"

namespace pmemd {

// Raises the readahead of the mount with this st_dev, and how much of it may be dirty or under
// writeback: to the system's dirty limit, or, if the daemon's control group is limited to
// `group_limit` bytes, to a quarter of that. EACCES, EPERM, EROFS: we may not change it; the mount
// works, but slower. ENOENT: no sysfs.
Result<void> tune_mount(dev_t device_number, std::optional<uint64_t> group_limit);

// How much one call of readahead reads in the mount; 128 KiB, the kernel's default, if it can't be
// read.
uint64_t readahead_bytes(dev_t device_number);

}  // namespace pmemd
