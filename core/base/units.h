// Sizes, alignment, and reading and writing sizes as people do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/error.h"

namespace pmemd {

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;
inline constexpr uint64_t kTiB = 1024 * kGiB;

inline constexpr uint64_t kPageSize = 4 * kKiB;        // one block of a file system, one pfn
inline constexpr uint64_t kSubsectionSize = 2 * kMiB;  // namespaces are aligned to it

// `align` is a power of two.
constexpr uint64_t align_down(uint64_t value, uint64_t align) { return value & ~(align - 1); }
constexpr uint64_t align_up(uint64_t value, uint64_t align) {
  return align_down(value + align - 1, align);
}
constexpr bool is_aligned(uint64_t value, uint64_t align) { return (value & (align - 1)) == 0; }

// Bytes from "4096", "64K", "2M", "1G", "1T" (binary units; "MiB" and "mb" are accepted too).
// EINVAL: not a number, an unknown unit, or zero. ERANGE: more than 2^63 - 1 bytes.
Result<uint64_t> parse_size(std::string_view text);

// "256 MiB", "1.5 GiB", "512 B": for people, never parsed again.
std::string format_size(uint64_t bytes);

// "1 pin", "2 pins".
std::string format_count(uint64_t count, std::string_view one);

}  // namespace pmemd
