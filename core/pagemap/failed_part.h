// A part of failed memory, in its user's coordinates; and how it failed.
//
// Thread contract: values.
#pragma once

#include <cstdint>
#include <vector>

#include "core/range/range.h"

namespace pmemd {

// The ranges of one failure: ascending, disjoint, not empty.
using PhysRanges = std::vector<PhysRange>;
using DataRanges = std::vector<DataRange>;

// Bits of mf_flags: include/linux/mm.h enum mf_flags.
inline constexpr unsigned kMfCountIncreased = 1U << 0;  // the caller holds a reference of the page
inline constexpr unsigned kMfActionRequired = 1U << 1;  // somebody has just touched it
inline constexpr unsigned kMfSoftOffline = 1U << 3;
inline constexpr unsigned kMfMemPreRemove = 1U << 5;  // being removed; its bytes are still good

// A part of a failed range, as its owner knows it.
struct FailedPart {
  uint64_t ino = 0;  // the file; or the inode whose metadata it is
  FileRange file;
  DataRange data;  // the same bytes, in the data area of the device that the inode is on
  bool is_metadata = false;

  bool operator==(const FailedPart&) const = default;
};
using FailedParts = std::vector<FailedPart>;

}  // namespace pmemd
