// Half-open ranges of bytes, each in the coordinates of one space.
//
// The same bytes have an offset in a file, in a namespace, in a region's image, and an emulated
// physical address. The space is part of the type, so that a range can't be handed to a layer that
// counts differently; code that translates names both types.
// All ranges in the project are half-open: [begin, end).
#pragma once

#include <algorithm>
#include <cassert>
#include <compare>
#include <cstdint>

#include "core/base/units.h"

namespace pmemd {

struct FileSpace {};     // offset in a file
struct DataSpace {};     // offset in a namespace's data area (its first byte after the metadata)
struct RegionSpace {};   // offset in a region's image
struct PhysSpace {};     // emulated physical address
struct AddressSpace {};  // virtual address in some process

template <class Space>
struct Range {
  uint64_t begin = 0;
  uint64_t end = 0;

  static constexpr Range sized(uint64_t begin, uint64_t length) { return {begin, begin + length}; }

  constexpr uint64_t length() const { return end - begin; }
  constexpr bool empty() const { return begin >= end; }
  constexpr bool contains(uint64_t offset) const { return begin <= offset && offset < end; }
  constexpr bool contains(Range other) const { return begin <= other.begin && other.end <= end; }
  // Whether they share a byte; so nothing overlaps an empty range.
  constexpr bool overlaps(Range other) const {
    return std::max(begin, other.begin) < std::min(end, other.end);
  }
  // Empty if they don't overlap; begin <= end still holds.
  constexpr Range intersect(Range other) const {
    const uint64_t low = std::max(begin, other.begin);
    return {low, std::max(low, std::min(end, other.end))};
  }
  // Widened to the units of `align` bytes (a power of two) that it touches: pages, sectors.
  constexpr Range widened_to(uint64_t align) const {
    return {align_down(begin, align), align_up(end, align)};
  }
  constexpr auto operator<=>(const Range&) const = default;
};

using FileRange = Range<FileSpace>;
using DataRange = Range<DataSpace>;
using RegionRange = Range<RegionSpace>;
using PhysRange = Range<PhysSpace>;
using AddressRange = Range<AddressSpace>;

// The widest file range: what "the whole file" means to a request.
inline constexpr FileRange kWholeFile = {0, INT64_MAX};

}  // namespace pmemd
