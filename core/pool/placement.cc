#include "core/pool/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "core/base/units.h"
#include "core/pool/labels.h"
#include "core/pool/records.h"

namespace pmemd {

Result<void> check_size(const std::string& object, uint64_t size) {
  if (size > kPhysicalAddressEnd) {
    return fail(EINVAL, fmt::format("{}: size {} is too large", object, size),
                fmt::format("at most {}", format_size(kPhysicalAddressEnd - kFirstRegionBase)));
  }
  const uint64_t possible = std::max(align_up(size, kSubsectionSize), kNamespaceSizeMin);
  if (size != possible) {
    return fail(EINVAL,
                fmt::format("{}: size {} is no multiple of 2 MiB, or below {}", object, size,
                            format_size(kNamespaceSizeMin)),
                fmt::format("the next possible size is {}, {}", possible, format_size(possible)));
  }
  return {};
}

Result<void> check_align(uint64_t align) {
  if (align < kSubsectionSize || align > kPhysicalAddressEnd || !std::has_single_bit(align)) {
    return fail(EINVAL, fmt::format("align {} is no power of two, or below 2 MiB", align),
                "use 2M or 1G");
  }
  return {};
}

Result<uint64_t> place_region(const std::vector<RegionLabel>& regions, uint64_t size,
                              std::optional<uint64_t> wanted) {
  const auto in_the_way = [&](uint64_t base) -> const RegionRecord* {
    for (const auto& [other, live] : regions) {
      const auto taken = PhysRange::sized(other.base_address, other.size_bytes);
      if (taken.overlaps(PhysRange::sized(base, size))) return &other;
    }
    return nullptr;
  };
  const auto fits = [&](uint64_t base) {
    return base <= kPhysicalAddressEnd && size <= kPhysicalAddressEnd - base;
  };
  if (wanted) {
    if (!is_aligned(*wanted, kSubsectionSize) || !fits(*wanted)) {
      return fail(EINVAL,
                  fmt::format("region: base {:#x} is no multiple of 2 MiB, or it ends beyond the "
                              "emulated address space",
                              *wanted),
                  fmt::format("the highest possible base is {:#x}",
                              align_down(kPhysicalAddressEnd - size, kSubsectionSize)));
    }
    if (const RegionRecord* other = in_the_way(*wanted)) {
      return fail(
          EEXIST,
          fmt::format("region: {:#x}-{:#x} overlaps {}", *wanted, *wanted + size, other->name()),
          "pmemctl list -R shows where regions are");
    }
    return *wanted;
  }
  uint64_t base = kFirstRegionBase;
  while (fits(base)) {
    const RegionRecord* other = in_the_way(base);
    if (other == nullptr) return base;
    base = align_up(other->base_address + other->size_bytes, kRegionBaseAlign);
  }
  return fail(ENOSPC, "region: the emulated address space is full", "make another pool");
}

std::optional<RegionRange> place(const std::vector<RegionRange>& free_extents,
                                 std::optional<uint64_t> size, uint64_t align) {
  std::optional<RegionRange> largest;
  for (const RegionRange extent : free_extents) {
    const RegionRange usable{align_up(extent.begin, align), extent.end};
    if (usable.empty() || usable.length() < size.value_or(kNamespaceSizeMin)) continue;
    if (size) return RegionRange::sized(usable.begin, *size);
    if (!largest || usable.length() > largest->length()) largest = usable;
  }
  return largest;
}

}  // namespace pmemd
