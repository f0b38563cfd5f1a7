#include "core/pagemap/dev_pagemap.h"

#include <fmt/format.h>

#include <cassert>
#include <iterator>

namespace pmemd {

PagemapRegistry::~PagemapRegistry() { assert(by_begin_.empty()); }

Result<void> PagemapRegistry::memremap_pages(DevPagemap& pagemap) {
  const PhysRange range = pagemap.range();
  if (range.empty() || !is_aligned(range.begin, kSubsectionSize) ||
      !is_aligned(range.end, kSubsectionSize)) {
    return fail(EINVAL, fmt::format("{}: range {:#x}-{:#x} is empty or not aligned to 2 MiB",
                                    pagemap.name(), range.begin, range.end));
  }
  MutexLock lock(mutex_);
  auto it = by_begin_.upper_bound(range.begin);
  if (it != by_begin_.begin()) --it;
  for (; it != by_begin_.end() && it->first < range.end; ++it) {
    if (it->second->range().overlaps(range)) {
      return fail(ENOMEM, fmt::format("{}: range {:#x}-{:#x} belongs to {}", pagemap.name(),
                                      range.begin, range.end, it->second->name()));
    }
  }
  by_begin_.emplace(range.begin, &pagemap);
  pagemap.ref().reinit();
  return {};
}

Result<void> PagemapRegistry::memunmap_pages(DevPagemap& pagemap, Deadline deadline) {
  if (!pagemap.ref().is_dying()) pagemap.ref().kill();
  // The wait comes before the range leaves: the other order hands it on with pages still out.
  if (auto drained = pagemap.ref().wait(deadline); !drained) {
    return fail(ETIMEDOUT, fmt::format("{}: {} references left at the deadline", pagemap.name(),
                                       pagemap.ref().count()));
  }
  MutexLock lock(mutex_);
  const auto it = by_begin_.find(pagemap.range().begin);
  if (it != by_begin_.end() && it->second == &pagemap) by_begin_.erase(it);
  return {};
}

std::pair<DevPagemap*, PercpuRef::Ref> PagemapRegistry::get_dev_pagemap(Pfn pfn) {
  if (pfn.value > UINT64_MAX / kPageSize) return {nullptr, PercpuRef::Ref()};
  const uint64_t address = pfn.value * kPageSize;
  MutexLock lock(mutex_);
  auto it = by_begin_.upper_bound(address);
  if (it == by_begin_.begin()) return {nullptr, PercpuRef::Ref()};
  DevPagemap* pagemap = std::prev(it)->second;
  if (!pagemap->range().contains(address)) return {nullptr, PercpuRef::Ref()};
  auto ref = pagemap->ref().tryget_live();
  if (!ref) return {nullptr, PercpuRef::Ref()};
  return {pagemap, std::move(ref)};
}

}  // namespace pmemd
