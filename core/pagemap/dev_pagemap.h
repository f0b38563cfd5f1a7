// The life cycle of a device's pages.
//
//   live ──kill()──▶ dying ──(last put)──▶ drained ──memunmap_pages()──▶ released
//     ▲────────resurrect()────┴───────────────┘
//
// The owner of the device creates a DevPagemap; memremap_pages() enters it into the registry
// (core/pagemap/pagemap_registry.h) and memunmap_pages() takes it out. It has one reference count
// for all of its ranges. References are held by:
//  - the pages themselves, one each, as long as they are set up (not kPrivate and kCoherent: there
//    a page has one only while it is allocated, taken by the allocator);
//  - every user of the memory that must not lose it: leases, pins, requests.
// references() counts only the latter.
//
// Thread contract: constant after construction, except its reference, which has a contract of its
// own, and the registry's data in it. references(): any thread.
// Models: include/linux/memremap.h struct dev_pagemap, enum memory_type, struct dev_pagemap_ops,
// mm/memremap.c pfn_first(), pfn_len(), pgmap_pfn_valid() @v6.12; differs: no compound pages
// (vmemmap_shift), so a reference for each page of 4 KiB.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/units.h"
#include "core/pagemap/failed_part.h"
#include "core/pagemap/pfn.h"
#include "core/percpu/percpu_ref.h"
#include "core/range/range.h"

namespace pmemd {

enum class MemoryType {
  kPrivate,    // the CPU can't touch it; it migrates to RAM instead
  kCoherent,   // the device's own, but the CPU can touch it
  kFsDax,      // a file system maps it
  kGeneric,    // device-dax
  kPciP2pdma,  // a device's buffers, for the I/O of other devices
};
std::string_view to_string(MemoryType type);  // "private", "coherent", "fsdax", "generic", "p2pdma"

// Called without any lock held. They must stay valid for as long as the pagemap lives.
struct DevPagemapOps {
  std::function<void(PhysRange)> page_free;               // the last reference of a page was put
  std::function<Result<void>(PhysRange)> migrate_to_ram;  // the CPU touches a private page
  // Memory failed: adds the parts and their owners. EOPNOTSUPP, or absent: it can't tell.
  std::function<Result<void>(const PhysRanges&, unsigned mf_flags, FailedParts&)> memory_failure =
      {};
  // Adds the owners of the pages that may be mapped, from the pages themselves (the kernel's
  // page->mapping).
  std::function<void(const PhysRanges&, FailedParts&)> page_mapping = {};
};

class DevPagemap {
 public:
  struct Setup {
    std::string name;
    MemoryType type = MemoryType::kGeneric;
    std::vector<PhysRange> ranges;  // all under one reference; metadata included
    uint64_t metadata_bytes = 0;    // at the start of the first range: info block, page structs
    DevPagemapOps ops = {};
    const void* owner = nullptr;  // whose device-private pages these are; never dereferenced
  };
  explicit DevPagemap(Setup setup) : setup_(std::move(setup)) {}
  DevPagemap(std::string name, MemoryType type, PhysRange range, uint64_t metadata_bytes = 0)
      : DevPagemap(Setup{std::move(name), type, {range}, metadata_bytes}) {}
  DevPagemap(const DevPagemap&) = delete;
  DevPagemap& operator=(const DevPagemap&) = delete;
  ~DevPagemap();  // asserts: not registered

  const std::string& name() const { return setup_.name; }
  MemoryType type() const { return setup_.type; }
  const std::vector<PhysRange>& ranges() const { return setup_.ranges; }
  PhysRange range() const { return setup_.ranges.at(0); }
  uint64_t metadata_bytes() const { return setup_.metadata_bytes; }
  const DevPagemapOps& ops() const { return setup_.ops; }
  const void* owner() const { return setup_.owner; }

  bool contains(Pfn pfn) const;
  // Whether a page has a reference only while it is allocated, instead of for as long as it is set
  // up.
  bool is_allocated_by_page() const {
    return type() == MemoryType::kPrivate || type() == MemoryType::kCoherent;
  }
  // Pages of the `index`-th range, without its metadata.
  uint64_t pfn_len(size_t index) const;

  PercpuRef& ref() { return ref_; }
  // References held beyond those of the pages. A snapshot.
  uint64_t references() const PMEMD_EXCLUDES(mutex_);

 private:
  friend class PagemapRegistry;

  // EINVAL as for memremap_pages().
  Result<void> check() const;
  // Takes or puts references, in one step, so that the pages of all ranges hold `count`.
  void hold_page_references(uint64_t count) PMEMD_EXCLUDES(mutex_);
  // How many they hold when the first `nr_range` ranges are set up; 0 for a type whose pages start
  // without one.
  uint64_t page_references(size_t nr_range) const;

  const Setup setup_;
  PercpuRef ref_;
  size_t nr_range_ = 0;  // ranges set up so far; guarded by the registry's lock

  // References move under it, so that references() never sees half of a move.
  mutable Mutex mutex_;
  uint64_t page_references_ PMEMD_GUARDED_BY(mutex_) = 0;
};

// Whether `pfn` is a page of the pagemap that programs may use: in a range, and not metadata.
bool pgmap_pfn_valid(const DevPagemap& pagemap, Pfn pfn);

}  // namespace pmemd
