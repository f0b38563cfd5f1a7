// Page frame numbers and whole subsections of the emulated physical address space.
//
// Thread contract: values.
#pragma once

#include <compare>
#include <cstdint>

#include "core/base/units.h"
#include "core/range/range.h"

namespace pmemd {

// The end of the emulated address space, as on x86-64 with five levels of page tables.
inline constexpr uint64_t kPhysicalAddressEnd = uint64_t{1} << 52;
inline constexpr uint64_t kPfnEnd = kPhysicalAddressEnd / kPageSize;

struct Pfn {
  uint64_t value = 0;

  static constexpr Pfn of(uint64_t address) { return {address / kPageSize}; }
  constexpr bool exists() const { return value < kPfnEnd; }
  constexpr uint64_t address() const { return value * kPageSize; }  // needs exists()
  auto operator<=>(const Pfn&) const = default;
};

// Whether memory can be added or removed as `range`: not empty, aligned to 2 MiB, within the
// address space.
constexpr bool is_whole_subsections(PhysRange range) {
  return !range.empty() && is_aligned(range.begin, kSubsectionSize) &&
         is_aligned(range.end, kSubsectionSize) && range.end <= kPhysicalAddressEnd;
}

}  // namespace pmemd
