// The life cycle of a device's pages, and the registry that finds it by pfn.
//
//   live ──kill()──▶ dying ──(last put)──▶ drained ──memunmap_pages()──▶ released
//
// A DevPagemap is made by who owns the device, enters the registry with memremap_pages() and
// leaves it with memunmap_pages(). What holds a reference: each range that the kernel's page cache
// was lent and has not given back (core/pagemap/lease_table.h).
//
// Invariants:
//  1. A pfn belongs to at most one registered pagemap.
//  2. A failed memremap_pages() leaves no trace: the range can be registered again at once.
//  3. A pagemap stays registered until it is killed and drained, so that its range is not reused
//     while anybody holds a reference.
//
// Thread contract: PagemapRegistry: any thread. DevPagemap: constant after construction, save its
// reference, which has a contract of its own.
// Models: mm/memremap.c memremap_pages(), memunmap_pages(), get_dev_pagemap() @v6.12; differs: the
// wait for the last reference has a deadline, and one range a pagemap.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/units.h"
#include "core/pagemap/percpu_ref.h"
#include "core/range/range.h"

namespace pmemd {

struct Pfn {
  uint64_t value = 0;
  auto operator<=>(const Pfn&) const = default;
};

// include/linux/memremap.h enum memory_type, as far as namespaces have modes for it.
enum class MemoryType { kFsDax, kGeneric };

class DevPagemap {
 public:
  // `range`: emulated physical addresses, metadata included.
  DevPagemap(std::string name, MemoryType type, PhysRange range)
      : name_(std::move(name)), type_(type), range_(range) {}

  const std::string& name() const { return name_; }
  MemoryType type() const { return type_; }
  PhysRange range() const { return range_; }
  PercpuRef& ref() { return ref_; }

 private:
  const std::string name_;
  const MemoryType type_;
  const PhysRange range_;
  PercpuRef ref_;
};

class PagemapRegistry {
 public:
  PagemapRegistry() = default;
  PagemapRegistry(const PagemapRegistry&) = delete;
  PagemapRegistry& operator=(const PagemapRegistry&) = delete;
  ~PagemapRegistry();  // asserts: empty

  // Registers the range and makes the reference live.
  // EINVAL: empty, or not aligned to 2 MiB. ENOMEM: part of it belongs to another pagemap.
  Result<void> memremap_pages(DevPagemap& pagemap) PMEMD_EXCLUDES(mutex_);

  // Kills the reference unless that has been done, waits for the last one, leaves the registry.
  // ETIMEDOUT: references left at the deadline; still registered and dying: call again. One that
  // isn't registered (its memremap_pages() failed) is no error.
  Result<void> memunmap_pages(DevPagemap& pagemap, Deadline deadline) PMEMD_EXCLUDES(mutex_);

  // A live reference to the pagemap that `pfn` belongs to; {nullptr, {}} if there is none, or if
  // it was killed.
  std::pair<DevPagemap*, PercpuRef::Ref> get_dev_pagemap(Pfn pfn) PMEMD_EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::map<uint64_t, DevPagemap*> by_begin_ PMEMD_GUARDED_BY(mutex_);  // disjoint ranges
};

}  // namespace pmemd
