#include "daemon/kernel/hot_ranges.h"

#include <gtest/gtest.h>

namespace pmemd {
namespace {

constexpr uint64_t kIno = 77;
constexpr uint64_t kPart = HotRanges::kPartBytes;

FileRange page(uint64_t index) { return FileRange::sized(index * kPageSize, kPageSize); }

// How many of `count` READs of pages that are far apart, in the part at `begin`, make it hot.
unsigned hot_of(HotRanges& ranges, uint64_t begin, unsigned count, uint64_t now_ms) {
  unsigned hot = 0;
  for (unsigned i = 0; i < count; ++i) {
    const auto found = ranges.note(kIno, page(begin / kPageSize + i * 37 % 512), now_ms);
    if (!found) continue;
    EXPECT_EQ(*found, FileRange::sized(begin, kPart));
    ++hot;
  }
  return hot;
}

TEST(HotRanges, APartIsHotWithTheLastOfTheThreshold) {
  HotRanges ranges;
  EXPECT_EQ(hot_of(ranges, 3 * kPart, HotRanges::kThreshold - 1, 0), 0u);
  EXPECT_EQ(ranges.note(kIno, page(3 * 512 + 511), 0), FileRange::sized(3 * kPart, kPart));
}

TEST(HotRanges, IsToldOnceForEachThresholdOfReads) {
  HotRanges ranges;
  EXPECT_EQ(hot_of(ranges, 0, 5 * HotRanges::kThreshold, 0), 5u);
}

TEST(HotRanges, PartsAndInodesCountApart) {
  HotRanges ranges;
  for (uint64_t i = 0; i < HotRanges::kThreshold - 1; ++i) {
    EXPECT_FALSE(ranges.note(kIno, page(i), 0));
    EXPECT_FALSE(ranges.note(kIno + 1, page(i), 0));
    EXPECT_FALSE(ranges.note(kIno, page(512 + i), 0));
  }
  EXPECT_TRUE(ranges.note(kIno, page(100), 0));
  EXPECT_TRUE(ranges.note(kIno + 1, page(100), 0));
}

TEST(HotRanges, ReadsOfManyPagesAreNoTouches) {
  HotRanges ranges;
  const auto large = FileRange::sized(0, HotRanges::kSmallBytes + kPageSize);
  for (unsigned i = 0; i < 10 * HotRanges::kThreshold; ++i) {
    EXPECT_FALSE(ranges.note(kIno, large, 0));
    EXPECT_FALSE(ranges.note(kIno, {4096, 4096}, 0));
  }
}

TEST(HotRanges, WhatIsTouchedNowAndThenIsNotHot) {
  HotRanges ranges;
  const uint64_t apart_ms = std::chrono::milliseconds(HotRanges::kWindow).count() + 500;
  for (unsigned i = 0; i < 10 * HotRanges::kThreshold; ++i) {
    EXPECT_FALSE(ranges.note(kIno, page(i), i * apart_ms)) << i;
  }
}

TEST(HotRanges, TheClockMayComeRoundWithinItsBits) {
  HotRanges ranges;
  const uint64_t round_ms = 65536 * 250;  // what 16 bits of quarters hold
  EXPECT_EQ(hot_of(ranges, 0, HotRanges::kThreshold - 1, round_ms - 250), 0u);
  EXPECT_EQ(hot_of(ranges, 0, 1, round_ms + 250), 1u);
}

TEST(HotRanges, ThePartsOfAHugeFileDontGrowIt) {
  HotRanges ranges;
  unsigned hot = 0;
  for (uint64_t i = 0; i < 1'000'000; ++i) {
    hot += ranges.note(kIno, page(i * 512), 0).has_value() ? 1 : 0;
  }
  EXPECT_EQ(hot, 0u);  // each was touched once
}

}  // namespace
}  // namespace pmemd
