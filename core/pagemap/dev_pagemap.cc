#include "core/pagemap/dev_pagemap.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace pmemd {

std::string_view to_string(MemoryType type) {
  switch (type) {
    case MemoryType::kPrivate:
      return "private";
    case MemoryType::kCoherent:
      return "coherent";
    case MemoryType::kFsDax:
      return "fsdax";
    case MemoryType::kGeneric:
      return "generic";
    case MemoryType::kPciP2pdma:
      return "p2pdma";
  }
  return "unknown";
}

DevPagemap::~DevPagemap() { assert(nr_range_ == 0); }

bool DevPagemap::contains(Pfn pfn) const {
  return pfn.exists() && std::ranges::any_of(setup_.ranges, [&](PhysRange range) {
           return range.contains(pfn.address());
         });
}

uint64_t DevPagemap::pfn_len(size_t index) const {
  return (setup_.ranges.at(index).length() - (index == 0 ? setup_.metadata_bytes : 0)) / kPageSize;
}

Result<void> DevPagemap::check() const {
  const auto refuse = [&](std::string_view why) {
    return fail(EINVAL, fmt::format("{}: {}", name(), why));
  };
  if (type() == MemoryType::kPrivate && !setup_.ops.migrate_to_ram) {
    return refuse("private memory without migrate_to_ram");
  }
  if (is_allocated_by_page() && !setup_.ops.page_free)
    return refuse("device memory without page_free");
  if (is_allocated_by_page() && setup_.owner == nullptr)
    return refuse("device memory without an owner");
  if (setup_.ranges.empty()) return refuse("no range");
  for (const PhysRange range : setup_.ranges) {
    if (!is_whole_subsections(range)) {
      return refuse(
          fmt::format("range {:#x}-{:#x} is empty, not aligned to 2 MiB, or beyond the "
                      "address space",
                      range.begin, range.end));
    }
  }
  if (!is_aligned(setup_.metadata_bytes, kPageSize) ||
      setup_.metadata_bytes >= setup_.ranges.front().length()) {
    return refuse(fmt::format("{} bytes of metadata are no whole pages, or leave no page to use",
                              setup_.metadata_bytes));
  }
  return {};
}

uint64_t DevPagemap::references() const {
  MutexLock lock(mutex_);
  // Others change the sum meanwhile: it may be a few too low for a moment.
  const uint64_t all = ref_.count();
  return all - std::min(all, page_references_);
}

uint64_t DevPagemap::page_references(size_t nr_range) const {
  uint64_t pages = 0;
  for (size_t index = 0; index < nr_range; ++index) pages += pfn_len(index);
  return is_allocated_by_page() ? 0 : pages;
}

void DevPagemap::hold_page_references(uint64_t count) {
  MutexLock lock(mutex_);
  if (count > page_references_) ref_.get_many(count - page_references_);
  if (count < page_references_) ref_.put_many(page_references_ - count);
  page_references_ = count;
}

bool pgmap_pfn_valid(const DevPagemap& pagemap, Pfn pfn) {
  return pagemap.contains(pfn) &&
         !PhysRange::sized(pagemap.range().begin, pagemap.metadata_bytes()).contains(pfn.address());
}

}  // namespace pmemd
