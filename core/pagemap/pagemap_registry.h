// The pages of the emulated machine: System RAM and devices, set up, found, explained, and torn
// down as the kernel does.
//
// Invariants:
//  1. A pfn belongs to at most one registered pagemap.
//  2. A failed memremap_pages() leaves no trace: the ranges can be registered again at once.
//  3. A pagemap stays registered until it is killed and drained, so that its ranges are not reused
//     while anybody holds a reference; abandon() is the one exception, and counts them.
//  4. The references of the pages of *all* ranges are put before anyone waits.
//
// Thread contract: any thread; for one pagemap, only its owner calls memremap_pages(),
// memunmap_pages(), resurrect() and abandon(), one at a time.
// Models: mm/memremap.c memremap_pages(), memunmap_pages(), get_dev_pagemap(),
// include/linux/mmzone.h pfn_valid(), mm/memory_hotplug.c pfn_to_online_page() @v6.12; differs: the
// wait for the last reference has a deadline; a collision anywhere in a range is detected, also
// with a pagemap that is dying (the kernel checks the first and last pfn, for live ones); others
// see a set-up whole or not at all. Kept as in the kernel: in a section with System RAM, a page of
// a dying pagemap is reported to be online.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/pagemap/dev_pagemap.h"
#include "core/pagemap/explain.h"
#include "core/pagemap/pfn.h"
#include "core/pagemap/sections.h"
#include "core/range/range.h"

namespace pmemd {

// A pagemap with a reference that keeps it, as get_dev_pagemap() returns it. Move-only.
class PagemapRef {
 public:
  PagemapRef() = default;
  PagemapRef(PagemapRef&& other) noexcept
      : pagemap_(std::exchange(other.pagemap_, nullptr)), ref_(std::move(other.ref_)) {}
  PagemapRef& operator=(PagemapRef&& other) noexcept {
    if (this == &other) return *this;
    reset();
    pagemap_ = std::exchange(other.pagemap_, nullptr);
    ref_ = std::move(other.ref_);
    return *this;
  }
  ~PagemapRef() = default;

  explicit operator bool() const { return pagemap_ != nullptr; }
  DevPagemap* get() const { return pagemap_; }
  DevPagemap& operator*() const { return *pagemap_; }
  DevPagemap* operator->() const { return pagemap_; }
  void reset() {  // put_dev_pagemap()
    pagemap_ = nullptr;
    ref_.reset();
  }

 private:
  friend class PagemapRegistry;
  PagemapRef(DevPagemap* pagemap, PercpuRef::Ref ref) : pagemap_(pagemap), ref_(std::move(ref)) {}
  DevPagemap* pagemap_ = nullptr;
  PercpuRef::Ref ref_;
};

class PagemapRegistry {
 public:
  PagemapRegistry() = default;
  PagemapRegistry(const PagemapRegistry&) = delete;
  PagemapRegistry& operator=(const PagemapRegistry&) = delete;
  ~PagemapRegistry();  // asserts: empty

  // Registers all ranges, makes the reference live, and gives each page its own.
  // EINVAL: a type without the ops or the owner it must have; no range; one that is empty, not
  // aligned to 2 MiB, or beyond the address space; metadata that isn't whole pages or leaves none.
  // ENOMEM: part of a range already belongs to a pagemap, even this one. ENXIO: to System RAM.
  Result<void> memremap_pages(DevPagemap& pagemap) PMEMD_EXCLUDES(mutex_);

  // Kills the reference unless its owner has done so, puts the pages' references, waits for the
  // last one, and takes the ranges out.
  // ETIMEDOUT: references left at the deadline, with their number; still registered and dying:
  // call again, or resurrect(), or abandon(). A pagemap that isn't registered (its
  // memremap_pages() failed) is not an error.
  Result<void> memunmap_pages(DevPagemap& pagemap, Deadline deadline) PMEMD_EXCLUDES(mutex_);

  // Takes a kill back, also after memunmap_pages() timed out: the pagemap is live again, and its
  // pages take their references again. Asserts: killed and registered. Nobody may be in
  // memunmap_pages().
  void resurrect(DevPagemap& pagemap) PMEMD_EXCLUDES(mutex_);

  // Gives up on references that are never put: takes a killed pagemap out, so that its ranges can
  // be registered again, and keeps the object for as long as somebody holds a reference, so that
  // late puts find it. One that never drains is kept until the process ends. Returns how many
  // references were abandoned.
  uint64_t abandon(std::unique_ptr<DevPagemap> pagemap) PMEMD_EXCLUDES(mutex_);

  // A live reference to the pagemap that `pfn` belongs to; empty if there is none, or if it was
  // killed. `cached`: the result of an earlier call; it is returned if the pfn is in that pagemap,
  // too (even if that was killed since: its holder keeps it), and put if not.
  PagemapRef get_dev_pagemap(Pfn pfn, PagemapRef cached = {}) PMEMD_EXCLUDES(mutex_);

  // Adds memory of the emulated machine: present from the start, online, never removed.
  // EINVAL: empty, not aligned to 2 MiB, or beyond the address space. EEXIST: part of it is already
  // System RAM, or a device's.
  Result<void> add_system_ram(PhysRange range) PMEMD_EXCLUDES(mutex_);

  // Whether there is a page; true also in the holes of an early section.
  bool pfn_valid(Pfn pfn) PMEMD_EXCLUDES(mutex_);
  // Whether it is an online page of System RAM, not a device's.
  bool pfn_to_online_page(Pfn pfn) PMEMD_EXCLUDES(mutex_);
  // The answers to all of the above for one pfn, at one moment, with the steps that decided.
  Explanation explain(Pfn pfn) const PMEMD_EXCLUDES(mutex_);

 private:
  struct Entry {
    uint64_t end = 0;
    DevPagemap* pagemap = nullptr;
  };

  Result<void> pagemap_range(DevPagemap& pagemap, size_t index) PMEMD_REQUIRES(mutex_);
  void pageunmap_ranges(DevPagemap& pagemap) PMEMD_REQUIRES(mutex_);
  // The entry that overlaps `range`; or nullptr.
  const Entry* find(PhysRange range) const PMEMD_REQUIRES(mutex_);
  // The pagemap that `pfn` belongs to, whatever its state; or nullptr.
  DevPagemap* find(Pfn pfn) const PMEMD_REQUIRES(mutex_);
  PagemapRef tryget_live(Pfn pfn) const PMEMD_REQUIRES(mutex_);

  // `steps`: if not null, gets the questions asked. `found`: a reference to put without the lock.
  bool valid(Pfn pfn, ExplainSteps* steps) const PMEMD_REQUIRES(mutex_);
  bool online(Pfn pfn, ExplainSteps* steps, PagemapRef& found) const PMEMD_REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::map<uint64_t, Entry> by_begin_ PMEMD_GUARDED_BY(mutex_);  // disjoint ranges
  PhysicalMap physical_ PMEMD_GUARDED_BY(mutex_);
};

}  // namespace pmemd
