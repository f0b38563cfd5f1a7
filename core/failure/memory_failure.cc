#include "core/failure/memory_failure.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace pmemd {
namespace {

// Consecutive ranges that belong to one pagemap.
struct Piece {
  PagemapRef pagemap;
  PhysRanges ranges;
};

std::string describe(PhysRange range) { return fmt::format("{:#x}-{:#x}", range.begin, range.end); }

bool is_metadata(const DevPagemap& pagemap, PhysRange range) {
  // Metadata is at the start of the first range: the first page tells for all.
  return !pgmap_pfn_valid(pagemap, Pfn::of(range.begin));
}

// The pagemap of the range's first page.
Result<PagemapRef> pagemap_of(PagemapRegistry& registry, PhysRange range) {
  const Pfn pfn = Pfn::of(range.begin);
  if (registry.pfn_to_online_page(pfn)) {
    return fail(EBUSY, describe(range) + ": System RAM", "only a device's memory can be poisoned");
  }
  PagemapRef pagemap = registry.get_dev_pagemap(pfn);
  if (!pagemap) return fail(ENXIO, describe(range) + ": no device's memory, or it is dying");
  return pagemap;
}

// The part of `range` in that pagemap range which has its first page; empty: there is none.
PhysRange part_of(const DevPagemap& pagemap, PhysRange range) {
  for (const PhysRange part : pagemap.ranges()) {
    if (part.contains(range.begin)) return range.intersect(part);
  }
  return {};
}

Result<void> check_recoverable(const DevPagemap& pagemap, PhysRange range) {
  if (is_metadata(pagemap, range)) {
    return fail(ENXIO, fmt::format("{}: metadata of {}", describe(range), pagemap.name()),
                "what holds a device's pages together can't be recovered");
  }
  if (pagemap.is_allocated_by_page()) {
    return fail(ENXIO,
                fmt::format("{}: {} memory of {}", describe(range), to_string(pagemap.type()),
                            pagemap.name()),
                "no program maps it");
  }
  return {};
}

Result<std::vector<Piece>> pieces_of(PagemapRegistry& registry, const PhysRanges& ranges) {
  std::vector<Piece> pieces;
  for (PhysRange rest : ranges) {
    while (!rest.empty()) {
      // A pagemap that we hold can't go away, so ranges in it need no lookup.
      PhysRange part = pieces.empty() ? PhysRange() : part_of(*pieces.back().pagemap, rest);
      if (part.empty()) {
        PMEMD_ASSIGN(auto pagemap, pagemap_of(registry, rest));
        part = part_of(*pagemap, rest);
        pieces.push_back({std::move(pagemap), {}});
      }
      PMEMD_TRY(check_recoverable(*pieces.back().pagemap, part));
      pieces.back().ranges.push_back(part);
      rest.begin = part.end;
    }
  }
  return pieces;
}

// Asks the pagemap's own handler; if it can't tell, asks the pages.
Result<void> fail_piece(const Piece& piece, unsigned mf_flags, FailedParts& parts) {
  const DevPagemapOps& ops = piece.pagemap->ops();
  if (ops.memory_failure) {
    const size_t before = parts.size();
    auto handled = ops.memory_failure(piece.ranges, mf_flags, parts);
    if (handled || handled.err() != EOPNOTSUPP) return handled;
    parts.resize(before);  // the pages' answer includes what one of several layers could tell
  }
  if (ops.page_mapping) ops.page_mapping(piece.ranges, parts);
  return {};
}

}  // namespace

Result<void> memory_failure(PagemapRegistry& registry, const PhysRanges& ranges, unsigned mf_flags,
                            FailedParts& parts, PagemapRef /*held*/) {
  for (const PhysRange& range : ranges) {
    if (range.empty() || !is_aligned(range.begin, kPageSize) || !is_aligned(range.end, kPageSize) ||
        range.end > kPhysicalAddressEnd) {
      return fail(EINVAL, describe(range) + ": no whole pages");
    }
  }
  PMEMD_ASSIGN(const auto pieces, pieces_of(registry, ranges));
  const size_t before = parts.size();
  for (const Piece& piece : pieces) {
    if (auto failed = fail_piece(piece, mf_flags, parts); !failed) {
      parts.resize(before);
      return failed;
    }
  }
  return {};
}

Result<void> soft_offline_page(PagemapRegistry& registry, Pfn pfn, PagemapRef /*held*/) {
  if (!pfn.exists() || !registry.pfn_valid(pfn)) {
    return fail(ENXIO, fmt::format("pfn {:#x}: there is no page", pfn.value));
  }
  if (registry.pfn_to_online_page(pfn)) {
    return fail(EBUSY, fmt::format("pfn {:#x}: System RAM", pfn.value));
  }
  return fail(EIO, fmt::format("pfn {:#x}: a device's page", pfn.value),
              "there is nowhere to migrate it to");
}

}  // namespace pmemd
