// The emulated physical map: which sections exist, and what is in them.
//
// A section is 128 MiB, the unit in which memory goes online; a subsection is 2 MiB, the unit in
// which a device's pages come and go. System RAM that is present from the start is "early". Nothing
// here knows pagemaps: a section can hold RAM and devices, and only get_dev_pagemap() tells which
// device a page belongs to.
//
// Invariants:
//  1. Nothing is stored for a section without memory; 16 bytes for one that has some (and for its
//     neighbours: they are kept in blocks of 256, as the kernel keeps a page of them).
//  2. Two devices may share a section, never a subsection; the caller ensures that.
//
// Thread contract: none of its own; the registry's lock guards it.
// Models: include/linux/mmzone.h struct mem_section, valid_section(), early_section(),
// online_section(), online_device_section(), pfn_section_valid(), mm/sparse.c section_activate(),
// section_deactivate(), mm/memory_hotplug.c move_pfn_range_to_zone() @v6.12; differs: no page
// structs; System RAM is never taken out again.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "core/base/units.h"
#include "core/pagemap/pfn.h"
#include "core/range/range.h"
#include "core/range/range_set.h"

namespace pmemd {

inline constexpr uint64_t kSectionSize = 128 * kMiB;
inline constexpr unsigned kSubsectionsPerSection = kSectionSize / kSubsectionSize;
inline constexpr uint64_t kSectionEnd = kPhysicalAddressEnd / kSectionSize;

// The numbers of the section, and of the subsection in it, for any pfn, even one that doesn't
// exist.
constexpr uint64_t pfn_to_section_nr(Pfn pfn) { return pfn.value / (kSectionSize / kPageSize); }
constexpr unsigned pfn_to_subsection(Pfn pfn) {
  return pfn.value / (kSubsectionSize / kPageSize) % kSubsectionsPerSection;
}

class MemSection {
 public:
  bool is_valid() const { return is_present_; }  // it has pages
  bool is_early() const { return is_early_; }    // since boot: all of it counts as having pages
  bool is_online() const { return is_online_; }  // the page allocator has pages of it
  // It also has, or had, a device's page: "online" doesn't hold for each pfn.
  bool is_online_device() const { return is_online_ && has_zone_device_; }
  bool pfn_section_valid(Pfn pfn) const {
    return (subsections_ >> pfn_to_subsection(pfn) & 1) != 0;
  }

 private:
  friend class PhysicalMap;
  uint64_t subsections_ = 0;  // a bit for each that has pages
  bool is_present_ = false;
  bool is_early_ = false;
  bool is_online_ = false;
  bool has_zone_device_ = false;
};
static_assert(sizeof(MemSection) == 16);
static_assert(kSubsectionsPerSection == 64, "one word holds the subsections of a section");

class PhysicalMap {
 public:
  // Ranges must be 2 MiB-aligned, within the address space, and still empty.
  void add_system_ram(PhysRange range);
  void add_device(PhysRange range);
  // Removes exactly what add_device() added. The device taint stays as long as the section does.
  void remove_device(PhysRange range);

  bool overlaps_system_ram(PhysRange range) const { return system_ram_.overlaps(range); }
  const RangeSet<PhysSpace>& system_ram() const { return system_ram_; }

  // Takes any number; a missing section isn't valid.
  const MemSection& section(uint64_t section_nr) const;
  uint64_t bytes_of_memory() const { return roots_.size() * sizeof(Root); }

 private:
  static constexpr uint64_t kSectionsPerRoot = 256;
  struct Root {
    std::array<MemSection, kSectionsPerRoot> sections;
    uint64_t present = 0;  // how many of them
  };

  // Calls visit(section, bits) for each section that `range` touches, with the subsections it
  // touches there.
  template <class Visitor>
  void for_each_section(PhysRange range, Visitor visit);
  MemSection& activate(uint64_t section_nr);

  std::unordered_map<uint64_t, std::unique_ptr<Root>> roots_;
  RangeSet<PhysSpace> system_ram_;
};

}  // namespace pmemd
