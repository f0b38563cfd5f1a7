// The memory limit of the daemon's control group.
//
// Thread contract: any thread.
// Models: mm/memcontrol.c memory_max_show(), memory_high_show(); mm/memcontrol-v1.c
// mem_cgroup_read_u64() @v6.12.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace pmemd {

// The lowest limit, in bytes, of the group and of those above it: memory.max and memory.high of
// version 2, memory.limit_in_bytes of version 1. Nothing: there is no limit, or it can't be read.
// `root`: where /proc and /sys/fs/cgroup are; for tests.
std::optional<uint64_t> memory_cgroup_limit(const std::string& root = "");

}  // namespace pmemd
