// A set of bytes, kept as disjoint, sorted, merged half-open ranges.
//
// Memory grows with the number of distinct ranges, not with their length. Adjacent ranges merge.
// insert() and erase() cost O(log n + ranges touched), and don't fail for lack of memory.
//
// Thread contract: none of its own; the owner's lock guards it.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/memory.h"
#include "core/range/range.h"

namespace pmemd {

template <class Space>
class RangeSet {
 public:
  using RangeType = Range<Space>;

  void insert(RangeType range) {
    if (range.empty()) return;
    const MustAllocate whole;
    auto it = first_reaching(range.begin);
    while (it != ranges_.end() && it->first <= range.end) {
      range.begin = std::min(range.begin, it->first);
      range.end = std::max(range.end, it->second);
      bytes_ -= it->second - it->first;
      it = ranges_.erase(it);
    }
    ranges_.emplace_hint(it, range.begin, range.end);
    bytes_ += range.length();
  }

  void erase(RangeType range) {
    if (range.empty()) return;
    const MustAllocate whole;
    auto it = first_reaching(range.begin);
    while (it != ranges_.end() && it->first < range.end) {
      const RangeType found{it->first, it->second};
      const RangeType cut = found.intersect(range);
      if (cut.empty()) {  // only touches
        ++it;
        continue;
      }
      bytes_ -= cut.length();
      it = ranges_.erase(it);
      if (found.begin < cut.begin) ranges_.emplace(found.begin, cut.begin);
      if (cut.end < found.end) it = ranges_.emplace(cut.end, found.end).first;
    }
  }

  // The parts of `range` that are in the set, in order.
  std::vector<RangeType> intersect(RangeType range) const {
    std::vector<RangeType> found;
    for (auto it = first_reaching(range.begin); it != ranges_.end() && it->first < range.end;
         ++it) {
      const RangeType part = RangeType{it->first, it->second}.intersect(range);
      if (!part.empty()) found.push_back(part);
    }
    return found;
  }

  // The set's whole ranges that `range` overlaps or touches, in order.
  std::vector<RangeType> touching(RangeType range) const {
    std::vector<RangeType> found;
    for (auto it = first_reaching(range.begin); it != ranges_.end() && it->first <= range.end;
         ++it) {
      found.push_back({it->first, it->second});
    }
    return found;
  }

  bool overlaps(RangeType range) const { return !intersect(range).empty(); }
  bool contains(RangeType range) const {
    const auto it = first_reaching(range.begin);
    return range.empty() ||
           (it != ranges_.end() && it->first <= range.begin && range.end <= it->second);
  }

  // In ascending order.
  template <class Visitor>
  void for_each(Visitor&& visit) const {
    for (const auto& [begin, end] : ranges_) visit(RangeType{begin, end});
  }

  // The lowest offset in the set.
  std::optional<uint64_t> first() const {
    if (ranges_.empty()) return std::nullopt;
    return ranges_.begin()->first;
  }
  std::vector<RangeType> ranges() const { return intersect({0, UINT64_MAX}); }
  uint64_t count() const { return ranges_.size(); }
  uint64_t bytes() const { return bytes_; }
  bool empty() const { return ranges_.empty(); }
  void clear() {
    ranges_.clear();
    bytes_ = 0;
  }

 private:
  using Map = std::map<uint64_t, uint64_t>;  // begin → end

  // The first range that ends at or after `offset` (one that ends there touches it).
  static auto reaching(auto& ranges, uint64_t offset) {
    auto it = ranges.upper_bound(offset);
    if (it != ranges.begin()) {
      const auto before = std::prev(it);
      if (before->second >= offset) return before;
    }
    return it;
  }
  Map::iterator first_reaching(uint64_t offset) { return reaching(ranges_, offset); }
  Map::const_iterator first_reaching(uint64_t offset) const { return reaching(ranges_, offset); }

  Map ranges_;
  uint64_t bytes_ = 0;
};

}  // namespace pmemd
