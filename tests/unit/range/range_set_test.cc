#include "core/range/range_set.h"

#include <gtest/gtest.h>

#include <bitset>
#include <random>
#include <vector>

namespace pmemd {
namespace {

using Set = RangeSet<FileSpace>;
using Ranges = std::vector<FileRange>;

Set make(const Ranges& ranges) {
  Set set;
  for (const auto& range : ranges) set.insert(range);
  return set;
}

TEST(RangeSet, StartsEmpty) {
  const Set set;
  EXPECT_TRUE(set.empty());
  EXPECT_EQ(set.count(), 0u);
  EXPECT_EQ(set.bytes(), 0u);
  EXPECT_TRUE(set.ranges().empty());
  EXPECT_FALSE(set.overlaps({0, UINT64_MAX}));
}

TEST(RangeSet, AdjacentRangesMergeOnBothSides) {
  const Set set = make({{0, 10}, {20, 30}, {10, 20}});
  EXPECT_EQ(set.ranges(), (Ranges{{0, 30}}));
  EXPECT_EQ(set.bytes(), 30u);
}

TEST(RangeSet, OneByteApartStaysApart) { EXPECT_EQ(make({{0, 10}, {11, 20}}).count(), 2u); }

TEST(RangeSet, InsertSwallowsAllItCovers) {
  const Set set = make({{10, 12}, {14, 16}, {18, 20}, {30, 31}, {11, 19}});
  EXPECT_EQ(set.ranges(), (Ranges{{10, 20}, {30, 31}}));
}

TEST(RangeSet, InsertOfWhatIsThereChangesNothing) {
  const Set set = make({{10, 20}, {10, 20}, {12, 15}, {10, 11}, {19, 20}});
  EXPECT_EQ(set.ranges(), (Ranges{{10, 20}}));
  EXPECT_EQ(set.bytes(), 10u);
}

TEST(RangeSet, EmptyRangesAreNothing) {
  Set set = make({{5, 5}, {9, 3}});
  EXPECT_TRUE(set.empty());
  set.insert({0, 10});
  set.erase({5, 5});
  set.erase({9, 3});
  EXPECT_EQ(set.ranges(), (Ranges{{0, 10}}));
  EXPECT_TRUE(set.contains({50, 50}));
  EXPECT_FALSE(set.overlaps({5, 5}));
}

TEST(RangeSet, EraseInTheMiddleMakesTwo) {
  Set set = make({{0, 10}});
  set.erase({3, 5});
  EXPECT_EQ(set.ranges(), (Ranges{{0, 3}, {5, 10}}));
  EXPECT_EQ(set.bytes(), 8u);
}

TEST(RangeSet, EraseTrimsTheOuterOnesAndDropsTheRest) {
  Set set = make({{0, 10}, {20, 30}, {40, 50}, {60, 70}});
  set.erase({5, 65});
  EXPECT_EQ(set.ranges(), (Ranges{{0, 5}, {65, 70}}));
  EXPECT_EQ(set.bytes(), 10u);
}

TEST(RangeSet, EraseOfANeighbourOnlyTouches) {
  Set set = make({{10, 20}});
  set.erase({0, 10});
  set.erase({20, 30});
  EXPECT_EQ(set.ranges(), (Ranges{{10, 20}}));
}

TEST(RangeSet, IntersectClipsInOrder) {
  const Set set = make({{0, 10}, {20, 30}, {40, 50}});
  EXPECT_EQ(set.intersect({5, 45}), (Ranges{{5, 10}, {20, 30}, {40, 45}}));
  EXPECT_TRUE(set.intersect({10, 20}).empty());
  EXPECT_TRUE(set.intersect({45, 40}).empty());
}

TEST(RangeSet, ContainsWantsOneRangeForAll) {
  const Set set = make({{0, 10}, {20, 30}});
  EXPECT_TRUE(set.contains({0, 10}));
  EXPECT_TRUE(set.contains({29, 30}));
  EXPECT_FALSE(set.contains({9, 11}));
  EXPECT_FALSE(set.contains({5, 25}));
  EXPECT_FALSE(set.contains({10, 11}));
}

TEST(RangeSet, HoldsTheWholeSpace) {
  Set set = make({{0, UINT64_MAX}});
  EXPECT_EQ(set.bytes(), UINT64_MAX);
  set.erase({1, UINT64_MAX - 1});
  EXPECT_EQ(set.ranges(), (Ranges{{0, 1}, {UINT64_MAX - 1, UINT64_MAX}}));
  EXPECT_EQ(set.bytes(), 2u);
  set.clear();
  EXPECT_TRUE(set.empty());
  EXPECT_EQ(set.bytes(), 0u);
}

constexpr uint64_t kModelSize = 96;
using Model = std::bitset<kModelSize>;

Ranges runs(const Model& model, FileRange within) {
  Ranges found;
  for (uint64_t i = within.begin; i < within.end; ++i) {
    if (!model[i]) continue;
    if (!found.empty() && found.back().end == i) {
      ++found.back().end;
    } else {
      found.push_back({i, i + 1});
    }
  }
  return found;
}

void compare(const Set& set, const Model& model, FileRange probe) {
  const auto expected = runs(model, {0, kModelSize});
  ASSERT_EQ(set.ranges(), expected);
  ASSERT_EQ(set.count(), expected.size());
  ASSERT_EQ(set.bytes(), model.count());
  ASSERT_EQ(set.empty(), model.none());
  Ranges visited;
  set.for_each([&](FileRange range) { visited.push_back(range); });
  ASSERT_EQ(visited, expected);

  const auto parts = runs(model, probe);
  ASSERT_EQ(set.intersect(probe), parts);
  ASSERT_EQ(set.overlaps(probe), !parts.empty());
  ASSERT_EQ(set.contains(probe), probe.empty() || parts == Ranges{probe});
}

TEST(RangeSet, RandomOperationsAgreeWithAPlainModel) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    Set set;
    Model model;
    // Some seeds with short ranges (many of them), some with long ones (few).
    const uint64_t longest = seed % 2 == 0 ? 6 : kModelSize;
    const auto any_range = [&] {
      const uint64_t begin = random() % (kModelSize + 1);
      return FileRange{begin, std::min(kModelSize, begin + random() % (longest + 1))};
    };
    for (int i = 0; i < 500; ++i) {
      const auto range = any_range();
      const bool insert = random() % 2 == 0;
      if (insert) {
        set.insert(range);
      } else {
        set.erase(range);
      }
      for (uint64_t byte = range.begin; byte < range.end; ++byte) model[byte] = insert;
      ASSERT_NO_FATAL_FAILURE(compare(set, model, any_range())) << "operation " << i;
    }
  }
}

}  // namespace
}  // namespace pmemd
