// The extents of one file, by file offset.
//
// A change is planned first and applied when it is committed: a plan lists the table rows to remove
// and to add, and the space that the file gives up.
//
// Invariants:
//  1. Extents are disjoint; two that continue each other are merged.
//  2. plan() changes nothing; apply(plan) does to the map what the plan's rows do to the table.
//
// Thread contract: none of its own; the owner's lock guards it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "core/filesystem/extent.h"
#include "core/range/range.h"

namespace pmemd {

class ExtentMap {
 public:
  struct Plan {
    std::vector<uint64_t> erase;   // rows to remove, by file offset
    std::vector<Extent> put;       // rows to add, or to replace one of the same file offset
    std::vector<DataRange> freed;  // space that the file gives up

    bool empty() const { return erase.empty() && put.empty(); }
  };

  // From rows in order of file offset.
  ExtentMap() = default;
  explicit ExtentMap(const std::vector<Extent>& rows);

  // The mapped parts of `range`, and the holes in it, in order.
  std::vector<Extent> find(FileRange range) const;
  std::vector<FileRange> holes(FileRange range) const;

  // The extent that contains `offset`, or else the first one after it.
  std::optional<Extent> next(uint64_t offset) const;

  // The best place in the data area for a block at `offset` (a hole): congruent with a neighbour
  // that it touches or shares a 2 MiB chunk of the file with.
  std::optional<uint64_t> goal(uint64_t offset) const;

  // Cuts `cut` out, then adds `added` (in order; into holes only).
  Plan plan(FileRange cut, std::span<const Extent> added) const;
  void apply(const Plan& plan);

  std::vector<Extent> all() const { return find(kWholeFile); }
  uint64_t bytes() const { return bytes_; }
  size_t count() const { return extents_.size(); }

 private:
  using Map = std::map<uint64_t, Extent>;

  // The first extent that ends after `offset`.
  Map::const_iterator first_behind(uint64_t offset) const;

  Map extents_;
  uint64_t bytes_ = 0;
};

}  // namespace pmemd
