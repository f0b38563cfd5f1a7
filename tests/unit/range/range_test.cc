#include "core/range/range.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <type_traits>

namespace pmemd {
namespace {

static_assert(!std::is_convertible_v<FileRange, DataRange>);
static_assert(!std::is_convertible_v<RegionRange, PhysRange>);

TEST(Range, SizedIsHalfOpen) {
  constexpr auto range = FileRange::sized(10, 5);
  EXPECT_EQ(range.begin, 10u);
  EXPECT_EQ(range.end, 15u);
  EXPECT_EQ(range.length(), 5u);
  EXPECT_TRUE(range.contains(10));
  EXPECT_TRUE(range.contains(14));
  EXPECT_FALSE(range.contains(15));
  EXPECT_FALSE(range.contains(9));
}

TEST(Range, EmptyHasNoBytes) {
  EXPECT_TRUE(FileRange().empty());
  EXPECT_TRUE((FileRange{7, 7}.empty()));
  EXPECT_TRUE((FileRange{9, 7}.empty()));
  EXPECT_FALSE((FileRange{7, 8}.empty()));
  EXPECT_FALSE((FileRange{7, 7}.contains(7)));
}

TEST(Range, ReachesTheEndOfItsSpace) {
  constexpr FileRange all{0, UINT64_MAX};
  EXPECT_EQ(all.length(), UINT64_MAX);
  EXPECT_TRUE(all.contains(UINT64_MAX - 1));
  EXPECT_EQ(all.intersect(kWholeFile), kWholeFile);
}

TEST(Range, AllPairsAgreeWithBytes) {
  constexpr uint64_t kEnd = 7;
  for (uint64_t a = 0; a <= kEnd; ++a) {
    for (uint64_t b = a; b <= kEnd; ++b) {
      for (uint64_t c = 0; c <= kEnd; ++c) {
        for (uint64_t d = c; d <= kEnd; ++d) {
          const FileRange x{a, b};
          const FileRange y{c, d};
          uint64_t shared = 0;
          for (uint64_t i = 0; i < kEnd; ++i) shared += x.contains(i) && y.contains(i);
          const auto common = x.intersect(y);
          SCOPED_TRACE(testing::Message() << a << '-' << b << ' ' << c << '-' << d);
          EXPECT_EQ(common.length(), shared);
          EXPECT_LE(common.begin, common.end);
          EXPECT_EQ(x.overlaps(y), shared != 0);
          EXPECT_EQ(x.overlaps(y), y.overlaps(x));
          if (!y.empty()) {
            EXPECT_EQ(x.contains(y), shared == y.length());
          }
        }
      }
    }
  }
}

TEST(Range, OrderIsByBeginThenEnd) {
  EXPECT_LT((FileRange{1, 9}), (FileRange{2, 3}));
  EXPECT_LT((FileRange{1, 2}), (FileRange{1, 3}));
  EXPECT_EQ((FileRange{1, 2}), FileRange::sized(1, 1));
}

}  // namespace
}  // namespace pmemd
