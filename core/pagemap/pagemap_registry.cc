#include "core/pagemap/pagemap_registry.h"

#include <fmt/format.h>

#include <cassert>
#include <iterator>
#include <vector>

#include "core/base/memory.h"

namespace pmemd {
namespace {

bool is_drained(DevPagemap& pagemap) { return pagemap.ref().wait(Clock::now()).has_value(); }

// The pagemaps that were abandoned with references still held. Never destroyed, because late puts
// may come as long as there are threads.
class Abandoned {
 public:
  static Abandoned& instance() {
    static auto* const abandoned = new Abandoned;
    return *abandoned;
  }
  void keep(std::unique_ptr<DevPagemap> pagemap) PMEMD_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    pagemaps_.push_back(std::move(pagemap));
    std::erase_if(pagemaps_, [](const auto& kept) { return is_drained(*kept); });
  }

 private:
  Mutex mutex_;
  std::vector<std::unique_ptr<DevPagemap>> pagemaps_ PMEMD_GUARDED_BY(mutex_);
};

}  // namespace

PagemapRegistry::~PagemapRegistry() { assert(by_begin_.empty()); }

Result<void> PagemapRegistry::memremap_pages(DevPagemap& pagemap) {
  PMEMD_TRY(pagemap.check());
  MutexLock lock(mutex_);
  if (pagemap.nr_range_ != 0) {
    return fail(ENOMEM, fmt::format("{}: is registered already", pagemap.name()));
  }
  const MustAllocate registered_or_as_before;
  pagemap.ref().reinit();
  for (size_t index = 0; index < pagemap.ranges().size(); ++index) {
    auto done = pagemap_range(pagemap, index);
    if (done) continue;
    // As if it had never existed: nobody could find it, because we hold the lock.
    pagemap.ref().kill();
    pagemap.hold_page_references(0);
    const bool nobody_has_it = is_drained(pagemap);
    assert(nobody_has_it);
    (void)nobody_has_it;
    pageunmap_ranges(pagemap);
    return done;
  }
  return {};
}

Result<void> PagemapRegistry::pagemap_range(DevPagemap& pagemap, size_t index) {
  const PhysRange range = pagemap.ranges()[index];
  if (const Entry* other = find(range)) {
    return fail(ENOMEM, fmt::format("{}: range {:#x}-{:#x} belongs to {}", pagemap.name(),
                                    range.begin, range.end, other->pagemap->name()));
  }
  if (physical_.overlaps_system_ram(range)) {
    return fail(ENXIO,
                fmt::format("{}: range {:#x}-{:#x} is System RAM, or part of it", pagemap.name(),
                            range.begin, range.end),
                "start pmemd with less --system-ram, or make a region behind it");
  }
  by_begin_.emplace(range.begin, Entry{range.end, &pagemap});
  physical_.add_device(range);
  pagemap.hold_page_references(pagemap.page_references(++pagemap.nr_range_));
  return {};
}

void PagemapRegistry::pageunmap_ranges(DevPagemap& pagemap) {
  while (pagemap.nr_range_ != 0) {
    const PhysRange range = pagemap.ranges()[--pagemap.nr_range_];
    physical_.remove_device(range);
    by_begin_.erase(range.begin);
  }
}

Result<void> PagemapRegistry::memunmap_pages(DevPagemap& pagemap, Deadline deadline) {
  if (!pagemap.ref().is_dying()) pagemap.ref().kill();
  // For all ranges at once: waiting for one before the next one's are put would never end.
  pagemap.hold_page_references(0);
  // Wait before the ranges leave: the other order would reuse them with pages still referenced.
  if (auto drained = pagemap.ref().wait(deadline); !drained) {
    return fail(ETIMEDOUT, fmt::format("{}: {} references left at the deadline", pagemap.name(),
                                       pagemap.references()));
  }
  MutexLock lock(mutex_);
  pageunmap_ranges(pagemap);
  return {};
}

void PagemapRegistry::resurrect(DevPagemap& pagemap) {
  MutexLock lock(mutex_);
  assert(pagemap.nr_range_ != 0);
  pagemap.ref().resurrect();
  pagemap.hold_page_references(pagemap.page_references(pagemap.nr_range_));
}

uint64_t PagemapRegistry::abandon(std::unique_ptr<DevPagemap> pagemap) {
  assert(pagemap->ref().is_dying());
  pagemap->hold_page_references(0);
  {
    MutexLock lock(mutex_);
    pageunmap_ranges(*pagemap);
  }
  const uint64_t references = pagemap->references();
  Abandoned::instance().keep(std::move(pagemap));
  return references;
}

PagemapRef PagemapRegistry::get_dev_pagemap(Pfn pfn, PagemapRef cached) {
  if (cached && cached->contains(pfn)) return cached;
  cached.reset();  // before the lock: this put may be the last one
  MutexLock lock(mutex_);
  return tryget_live(pfn);
}

PagemapRef PagemapRegistry::tryget_live(Pfn pfn) const {
  DevPagemap* const pagemap = find(pfn);
  if (pagemap == nullptr) return {};
  auto ref = pagemap->ref().tryget_live();
  if (!ref) return {};
  return {pagemap, std::move(ref)};
}

const PagemapRegistry::Entry* PagemapRegistry::find(PhysRange range) const {
  // Ranges are disjoint: if any overlaps, the last one that begins below the end does.
  const auto behind = by_begin_.lower_bound(range.end);
  if (behind == by_begin_.begin()) return nullptr;
  const Entry& entry = std::prev(behind)->second;
  return entry.end > range.begin ? &entry : nullptr;
}

DevPagemap* PagemapRegistry::find(Pfn pfn) const {
  if (!pfn.exists()) return nullptr;
  const Entry* const entry = find(PhysRange::sized(pfn.address(), kPageSize));
  return entry == nullptr ? nullptr : entry->pagemap;
}

Result<void> PagemapRegistry::add_system_ram(PhysRange range) {
  const auto refuse = [&](int err, const std::string& why) {
    return fail(err, fmt::format("System RAM {:#x}-{:#x}: {}", range.begin, range.end, why));
  };
  if (!is_whole_subsections(range)) {
    return refuse(EINVAL, "is empty, not aligned to 2 MiB, or beyond the address space");
  }
  MutexLock lock(mutex_);
  if (const Entry* other = find(range)) {
    return refuse(EEXIST, "part of it belongs to " + other->pagemap->name());
  }
  if (physical_.overlaps_system_ram(range)) return refuse(EEXIST, "part of it is there already");
  physical_.add_system_ram(range);
  return {};
}

bool PagemapRegistry::pfn_valid(Pfn pfn) {
  MutexLock lock(mutex_);
  return valid(pfn, nullptr);
}

bool PagemapRegistry::pfn_to_online_page(Pfn pfn) {
  PagemapRef put_last;
  MutexLock lock(mutex_);
  return online(pfn, nullptr, put_last);
}

}  // namespace pmemd
