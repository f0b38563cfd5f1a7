// Physical ranges of whole subsections (2 MiB), counted from address 0.
#pragma once

#include <cstdint>

#include "core/base/units.h"
#include "core/range/range.h"

namespace pmemd {

inline constexpr uint64_t kUnit = kSubsectionSize;

inline PhysRange units(uint64_t begin, uint64_t end) { return {begin * kUnit, end * kUnit}; }

}  // namespace pmemd
