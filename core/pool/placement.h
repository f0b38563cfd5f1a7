// Decides where a new region or namespace goes, and which sizes are possible. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/pool/labels.h"
#include "core/range/range.h"

namespace pmemd {

// EINVAL with the next possible size as hint: not a multiple of 2 MiB, below kNamespaceSizeMin, or
// beyond the emulated address space. `object` is named in the message.
Result<void> check_size(const std::string& object, uint64_t size);

// EINVAL: not a power of two, or below 2 MiB.
Result<void> check_align(uint64_t align);

// The base address of a new region: `wanted`, or the lowest free multiple of kRegionBaseAlign, from
// kFirstRegionBase on, that has room for `size`.
// EINVAL: `wanted` is not aligned to 2 MiB, or it would reach beyond the address space. EEXIST: it
// would overlap another region. ENOSPC: no room.
Result<uint64_t> place_region(const std::vector<RegionLabel>& regions, uint64_t size,
                              std::optional<uint64_t> wanted);

// A range in the first extent that has room for `size`, at its lowest multiple of `align`; without
// a size, the largest piece that begins at such a multiple. Nothing: there is no room.
std::optional<RegionRange> place(const std::vector<RegionRange>& free_extents,
                                 std::optional<uint64_t> size, uint64_t align);

}  // namespace pmemd
