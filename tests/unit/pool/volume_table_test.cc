#include "core/pool/volume_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace pmemd {
namespace {

VolumeTable make(VolumeType type, uint64_t chunk, std::vector<uint64_t> legs) {
  auto table = VolumeTable::make(type, chunk, std::move(legs));
  EXPECT_TRUE(table) << table.error().describe();
  return table.value_or(VolumeTable());
}

int error_of(VolumeType type, uint64_t chunk, std::vector<uint64_t> legs) {
  return VolumeTable::make(type, chunk, std::move(legs)).err();
}

TEST(VolumeTable, ALinearOneIsTheSumOfItsLegs) {
  const auto table = make(VolumeType::kLinear, 0, {2 * kMiB, 4 * kMiB, 2 * kMiB});
  EXPECT_EQ(table.size_bytes(), 8 * kMiB);
  using Parts = std::vector<VolumeTable::LegRange>;
  EXPECT_EQ(table.map({kMiB, 7 * kMiB}),
            (Parts{{0, {kMiB, 2 * kMiB}}, {1, {0, 4 * kMiB}}, {2, {0, kMiB}}}));
  EXPECT_EQ(table.rmap(1, {0, 1}), (std::vector<DataRange>{{2 * kMiB, 2 * kMiB + 1}}));
}

TEST(VolumeTable, AStripedOneUsesAsMuchOfEachLegAsTheSmallestHasInWholeChunks) {
  const auto table = make(VolumeType::kStriped, 64 * kKiB, {kMiB + 4 * kKiB, 4 * kMiB});
  EXPECT_EQ(table.size_bytes(), 2 * kMiB);
  using Parts = std::vector<VolumeTable::LegRange>;
  EXPECT_EQ(table.map({60 * kKiB, 132 * kKiB}),
            (Parts{{0, {60 * kKiB, 64 * kKiB}}, {1, {0, 64 * kKiB}}, {0, {64 * kKiB, 68 * kKiB}}}));
  EXPECT_EQ(table.map_by_leg({60 * kKiB, 132 * kKiB}),
            (Parts{{0, {60 * kKiB, 68 * kKiB}}, {1, {0, 64 * kKiB}}}));
  EXPECT_EQ(table.rmap(0, {60 * kKiB, 68 * kKiB}),
            (std::vector<DataRange>{{60 * kKiB, 64 * kKiB}, {128 * kKiB, 132 * kKiB}}));
  EXPECT_TRUE(table.rmap(1, {kMiB, 4 * kMiB}).empty()) << "not used";
}

TEST(VolumeTable, WhatGoesOnIsOneRange) {
  const auto one_leg = make(VolumeType::kStriped, 4 * kKiB, {kMiB});
  EXPECT_EQ(one_leg.map({0, kMiB}).size(), 1u);
  EXPECT_EQ(one_leg.rmap(0, {0, kMiB}), (std::vector<DataRange>{{0, kMiB}}));
}

TEST(VolumeTable, RefusesWhatIsNoVolume) {
  EXPECT_EQ(error_of(VolumeType::kLinear, 0, {}), EINVAL);
  EXPECT_EQ(error_of(VolumeType::kLinear, 0, std::vector<uint64_t>(257, kMiB)), EINVAL);
  EXPECT_EQ(error_of(VolumeType::kLinear, 0, std::vector<uint64_t>(256, kMiB)), 0);
  EXPECT_EQ(error_of(VolumeType::kLinear, 4 * kKiB, {kMiB}), EINVAL) << "it has no chunks";
  EXPECT_EQ(error_of(VolumeType::kLinear, 0, {kMiB + 1}), EINVAL);
  EXPECT_EQ(error_of(VolumeType::kLinear, 0, {0, kMiB}), EINVAL);
  EXPECT_EQ(error_of(VolumeType::kLinear, 0, {uint64_t{1} << 63, uint64_t{1} << 63}), EINVAL);
  EXPECT_EQ(error_of(VolumeType::kLinear, 0, {uint64_t{1} << 51, uint64_t{1} << 51}), EINVAL);
  EXPECT_EQ(error_of(VolumeType::kStriped, 0, {kMiB}), EINVAL);
  EXPECT_EQ(error_of(VolumeType::kStriped, 2 * kKiB, {kMiB}), EINVAL);
  EXPECT_EQ(error_of(VolumeType::kStriped, 12 * kKiB, {kMiB}), EINVAL);
  EXPECT_EQ(error_of(VolumeType::kStriped, 2 * kMiB, {kMiB, 4 * kMiB}), EINVAL) << "no chunk fits";
}

TEST(VolumeTable, TypesHaveNames) {
  for (const VolumeType type : kVolumeTypes) EXPECT_EQ(parse_volume_type(to_string(type)), type);
  EXPECT_EQ(parse_volume_type("mirror").err(), EINVAL);
}

// Byte by byte: where each byte of the volume is.
struct PlainVolume {
  std::vector<std::pair<size_t, uint64_t>> where;
  std::map<std::pair<size_t, uint64_t>, uint64_t> back;

  PlainVolume(VolumeType type, uint64_t chunk, const std::vector<uint64_t>& legs) {
    if (type == VolumeType::kLinear) {
      for (size_t leg = 0; leg < legs.size(); ++leg) {
        for (uint64_t i = 0; i < legs[leg]; ++i) where.emplace_back(leg, i);
      }
    } else {
      const uint64_t least = *std::min_element(legs.begin(), legs.end());
      for (uint64_t begin = 0; begin + chunk <= least; begin += chunk) {
        for (size_t leg = 0; leg < legs.size(); ++leg) {
          for (uint64_t i = begin; i < begin + chunk; ++i) where.emplace_back(leg, i);
        }
      }
    }
    for (uint64_t i = 0; i < where.size(); ++i) back.emplace(where[i], i);
  }
};

// Every byte of the ranges, and the ranges in order, disjoint and merged.
template <class Range>
void expect_sound(const std::vector<Range>& ranges) {
  for (size_t i = 0; i < ranges.size(); ++i) {
    EXPECT_FALSE(ranges[i].empty());
    if (i > 0) {
      EXPECT_LT(ranges[i - 1].end, ranges[i].begin) << "in order, and merged";
    }
  }
}

TEST(VolumeTable, BothDirectionsEqualAPlainModelByteByByte) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto below = [&](uint64_t end) { return random() % end; };
  for (int round = 0; round < 12; ++round) {
    const VolumeType type = kVolumeTypes[round % 2];
    const uint64_t chunk = type == VolumeType::kLinear ? 0 : 4 * kKiB << below(2);
    std::vector<uint64_t> legs(1 + below(4));
    for (uint64_t& bytes : legs) bytes = (2 + below(5)) * 4 * kKiB;
    const PlainVolume plain(type, chunk, legs);
    const auto table = make(type, chunk, legs);
    ASSERT_EQ(table.size_bytes(), plain.where.size());
    for (int i = 0; i < 20; ++i) {
      const uint64_t begin = below(plain.where.size());
      const DataRange range = {begin, begin + below(plain.where.size() - begin + 1)};
      uint64_t at = range.begin;
      for (const auto& [leg, part] : table.map(range)) {
        for (uint64_t byte = part.begin; byte < part.end; ++byte, ++at) {
          ASSERT_EQ(plain.where[at], std::pair(leg, byte));
        }
      }
      ASSERT_EQ(at, range.end);
      uint64_t bytes = 0;
      for (const auto& [leg, part] : table.map_by_leg(range)) {
        for (uint64_t byte = part.begin; byte < part.end; ++byte, ++bytes) {
          ASSERT_TRUE(range.contains(plain.back.at({leg, byte})));
        }
      }
      ASSERT_EQ(bytes, range.length());

      const size_t leg = below(legs.size());
      const uint64_t leg_begin = below(legs[leg]);
      const DataRange on_leg = {leg_begin, leg_begin + below(legs[leg] - leg_begin + 1)};
      std::vector<uint64_t> expected;
      for (uint64_t byte = on_leg.begin; byte < on_leg.end; ++byte) {
        if (plain.back.contains({leg, byte})) expected.push_back(plain.back.at({leg, byte}));
      }
      std::vector<uint64_t> found;
      const auto ranges = table.rmap(leg, on_leg);
      expect_sound(ranges);
      for (const DataRange& one : ranges) {
        for (uint64_t byte = one.begin; byte < one.end; ++byte) found.push_back(byte);
      }
      ASSERT_EQ(found, expected);
    }
  }
}

}  // namespace
}  // namespace pmemd
