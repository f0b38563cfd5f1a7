#include "core/filesystem/extent_map.h"

#include <algorithm>
#include <cassert>
#include <iterator>

#include "core/base/memory.h"
#include "core/base/units.h"

namespace pmemd {
namespace {

// Appends `extent`, merged with the last one if it continues that.
void append_merged(std::vector<Extent>& extents, const Extent& extent) {
  if (extent.length == 0) return;
  if (!extents.empty() && extents.back().continues_in(extent)) {
    extents.back().length += extent.length;
  } else {
    extents.push_back(extent);
  }
}

}  // namespace

ExtentMap::ExtentMap(const std::vector<Extent>& rows) {
  for (const Extent& row : rows) {
    extents_.emplace_hint(extents_.end(), row.file_offset, row);
    bytes_ += row.length;
  }
}

ExtentMap::Map::const_iterator ExtentMap::first_behind(uint64_t offset) const {
  auto it = extents_.upper_bound(offset);
  if (it != extents_.begin() && std::prev(it)->second.file().end > offset) --it;
  return it;
}

std::vector<Extent> ExtentMap::find(FileRange range) const {
  std::vector<Extent> found;
  if (range.empty()) return found;
  for (auto it = first_behind(range.begin); it != extents_.end() && it->first < range.end; ++it) {
    found.push_back(it->second.clip(range));
  }
  return found;
}

std::vector<FileRange> ExtentMap::holes(FileRange range) const {
  std::vector<FileRange> found;
  for (const Extent& extent : find(range)) {
    if (range.begin < extent.file_offset) found.push_back({range.begin, extent.file_offset});
    range.begin = extent.file().end;
  }
  if (!range.empty()) found.push_back(range);
  return found;
}

std::optional<Extent> ExtentMap::next(uint64_t offset) const {
  const auto it = first_behind(offset);
  if (it == extents_.end()) return std::nullopt;
  return it->second;
}

std::optional<uint64_t> ExtentMap::goal(uint64_t offset) const {
  const auto same_chunk = [offset](uint64_t other) {
    return align_down(offset, kSubsectionSize) == align_down(other, kSubsectionSize);
  };
  const auto behind = extents_.upper_bound(offset);
  if (behind != extents_.begin()) {
    const Extent& before = std::prev(behind)->second;
    if (before.file().end == offset || same_chunk(before.file().end - 1)) {
      return before.data_offset + (offset - before.file_offset);
    }
  }
  if (behind != extents_.end() && same_chunk(behind->first)) {
    const uint64_t distance = behind->first - offset;
    if (behind->second.data_offset >= distance) return behind->second.data_offset - distance;
  }
  return std::nullopt;
}

ExtentMap::Plan ExtentMap::plan(FileRange cut, std::span<const Extent> added) const {
  FileRange hull = cut;
  if (!added.empty()) {
    const FileRange fill = {added.front().file_offset, added.back().file().end};
    hull = cut.empty() ? fill
                       : FileRange{std::min(cut.begin, fill.begin), std::max(cut.end, fill.end)};
  }
  Plan plan;
  if (hull.empty()) return plan;

  // Everything that the change may touch, including neighbours, which may merge.
  std::vector<Extent> before;
  for (auto it = first_behind(hull.begin == 0 ? 0 : hull.begin - 1);
       it != extents_.end() && it->first <= hull.end; ++it) {
    before.push_back(it->second);
  }

  std::vector<Extent> pieces(added.begin(), added.end());
  for (const Extent& extent : before) {
    const Extent inside = cut.empty() ? Extent{} : extent.clip(cut);
    if (inside.length == 0) {
      pieces.push_back(extent);
      continue;
    }
    plan.freed.push_back(inside.data());
    pieces.push_back(extent.clip({0, cut.begin}));
    pieces.push_back(extent.clip({cut.end, UINT64_MAX}));
  }
  std::erase_if(pieces, [](const Extent& piece) { return piece.length == 0; });
  std::sort(pieces.begin(), pieces.end(),
            [](const Extent& a, const Extent& b) { return a.file_offset < b.file_offset; });
  std::vector<Extent> after;
  for (const Extent& piece : pieces) {
    assert(after.empty() || after.back().file().end <= piece.file_offset);
    append_merged(after, piece);
  }

  const auto by_offset = [](const Extent& a, const Extent& b) {
    return a.file_offset < b.file_offset;
  };
  for (const Extent& extent : before) {
    if (!std::binary_search(after.begin(), after.end(), extent, by_offset)) {
      plan.erase.push_back(extent.file_offset);
    }
  }
  for (const Extent& extent : after) {
    const auto old = extents_.find(extent.file_offset);
    if (old == extents_.end() || old->second != extent) plan.put.push_back(extent);
  }
  return plan;
}

void ExtentMap::apply(const Plan& plan) {
  const MustAllocate whole;
  for (const uint64_t offset : plan.erase) {
    const auto it = extents_.find(offset);
    assert(it != extents_.end());
    bytes_ -= it->second.length;
    extents_.erase(it);
  }
  for (const Extent& extent : plan.put) {
    Extent& row = extents_[extent.file_offset];
    bytes_ += extent.length - row.length;
    row = extent;
  }
}

}  // namespace pmemd
