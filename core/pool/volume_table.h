// How a volume is composed of its legs: which byte of it is which byte of which leg.
//
//   linear    one leg after the other
//   striped   chunks in turn: chunk 0 on leg 0, chunk 1 on leg 1, … chunk n on leg 0 again
//
// Both directions are exact, and inverse to each other. A leg may be a volume itself: code that
// goes through several layers asks the table of each.
//
// Invariants:
//  1. Each byte of the volume is one byte of one leg, and no byte of a leg is two of the volume.
//  2. A range is translated to ranges that are in order, disjoint, and merged where they continue
//     each other.
//  3. Boundaries between legs are multiples of kPageSize: no page is on two legs.
//
// Thread contract: constant after construction; functions from any thread.
// Models: drivers/md/dm-linear.c linear_map(), drivers/md/dm-stripe.c stripe_map(),
// stripe_map_range(), drivers/md/dm-table.c dm_table_find_target() @v6.12; differs: bytes instead
// of sectors; rmap(), the way back, was proposed for the kernel ("dm: Introduce ->rmap() to find
// bdev offset") and never merged.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/base/units.h"
#include "core/range/range.h"

namespace pmemd {

enum class VolumeType { kLinear, kStriped };
inline constexpr std::array kVolumeTypes = {VolumeType::kLinear, VolumeType::kStriped};
std::string_view to_string(VolumeType type);                  // "linear", "striped"
Result<VolumeType> parse_volume_type(std::string_view text);  // EINVAL

class VolumeTable {
 public:
  static constexpr size_t kMaxLegs = 256;
  static constexpr uint64_t kDefaultChunkBytes = 2 * kMiB;  // a huge page lies on one leg

  VolumeTable() = default;  // has no legs

  // `chunk_bytes`: of a striped volume; of a linear one 0. `leg_bytes`: the data areas, in order.
  // EINVAL: no leg, or more than kMaxLegs; a leg that isn't whole pages, or is too small for a
  // chunk; a chunk that isn't a power of two or is below kPageSize; more bytes than there are
  // addresses.
  static Result<VolumeTable> make(VolumeType type, uint64_t chunk_bytes,
                                  std::vector<uint64_t> leg_bytes);

  VolumeType type() const { return type_; }
  uint64_t chunk_bytes() const { return chunk_bytes_; }
  size_t legs() const { return leg_bytes_.size(); }
  // linear: the sum; striped: the smallest leg, rounded down to chunks, times the legs.
  uint64_t size_bytes() const { return size_bytes_; }
  // How much of a leg is used, from its start.
  uint64_t used_bytes(size_t leg) const;

  struct LegRange {
    size_t leg = 0;
    DataRange range;  // in its data area
    bool operator==(const LegRange&) const = default;
  };
  // `range` must be within the volume (asserted). In order of the volume: a striped range in pieces
  // of a chunk.
  std::vector<LegRange> map(DataRange range) const;
  // The same bytes, each leg once: what is contiguous on the volume is contiguous on each leg.
  std::vector<LegRange> map_by_leg(DataRange range) const;
  // Where a leg's range lies on the volume, in order; one range per chunk, if striped over several
  // legs. Leaves out what the volume doesn't use of the leg.
  std::vector<DataRange> rmap(size_t leg, DataRange range) const;

 private:
  // Where a byte of the volume is.
  LegRange find(uint64_t offset) const;  // `range`: from there to where the leg or chunk ends
  // Striped: how many bytes of the leg lie before the volume's `offset`.
  uint64_t leg_offset_before(size_t leg, uint64_t offset) const;

  VolumeType type_ = VolumeType::kLinear;
  uint64_t chunk_bytes_ = 0;
  std::vector<uint64_t> leg_bytes_;
  std::vector<uint64_t> begins_;  // linear: where each leg begins
  uint64_t size_bytes_ = 0;
};

}  // namespace pmemd
