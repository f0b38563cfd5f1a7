// Detects where a file is read page by page, again and again: random touches of a mapping cost a
// round trip each, while their neighbourhood could be read ahead once.
//
// Counts small READs by part of a file (2 MiB) in a table of fixed size. When a part has had
// kThreshold of them within kWindow, it is hot: reading all of it costs about as much as they did,
// so the total is at worst twice the best choice in hindsight.
//
// Invariants:
//  1. Memory is constant. A part whose slot another one takes is forgotten.
//  2. A part is reported once for each kThreshold of READs.
//
// Thread contract: any thread; no lock. Simultaneous READs of one part may be counted as one.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include "core/base/units.h"
#include "core/range/range.h"

namespace pmemd {

class HotRanges {
 public:
  static constexpr uint64_t kPartBytes = 2 * kMiB;
  static constexpr uint64_t kSmallBytes = 4 * kPageSize;  // a larger READ isn't a single touch
  static constexpr uint32_t kThreshold = 4;
  static constexpr std::chrono::seconds kWindow{2};

  HotRanges() = default;
  HotRanges(const HotRanges&) = delete;
  HotRanges& operator=(const HotRanges&) = delete;

  // Counts a READ of `range` at `now_ms` (of a clock that doesn't run backwards). Returns the part
  // that it makes hot, which may reach past the file's end.
  std::optional<FileRange> note(uint64_t ino, FileRange range, uint64_t now_ms);

 private:
  static constexpr size_t kSlots = 4096;

  // From the top: 40 bits of the part's hash, 16 bits of time (quarters of a second), 8 bits of
  // count.
  std::array<std::atomic<uint64_t>, kSlots> slots_ = {};
};

}  // namespace pmemd
