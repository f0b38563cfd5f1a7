#include "core/filesystem/allocator.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace pmemd {
namespace {

constexpr uint64_t kBlock = kPageSize;
constexpr uint64_t kChunk = Allocator::kChunkSize;

std::vector<DataRange> free_ranges(const Allocator& allocator) {
  std::vector<DataRange> ranges;
  allocator.for_each_free([&](DataRange range) { ranges.push_back(range); });
  return ranges;
}

std::vector<Extent> allocate(Allocator& allocator, uint64_t ino, FileRange hole, bool large,
                             std::optional<uint64_t> goal = {}) {
  std::vector<Extent> pieces;
  EXPECT_TRUE(allocator.allocate(ino, hole, large, goal, pieces));
  return pieces;
}

TEST(Allocator, StartsAllFree) {
  const Allocator allocator(4 * kChunk);
  EXPECT_EQ(allocator.free_bytes(), 4 * kChunk);
  EXPECT_EQ(free_ranges(allocator), (std::vector<DataRange>{{0, 4 * kChunk}}));
}

TEST(Allocator, UsedRangesAreNotFree) {
  const auto allocator = Allocator::with_used(
      8 * kChunk, {{3 * kChunk - kBlock, 6 * kChunk}, {0, kBlock}, {7 * kChunk, 8 * kChunk}});
  ASSERT_TRUE(allocator);
  EXPECT_EQ(free_ranges(*allocator),
            (std::vector<DataRange>{{kBlock, 3 * kChunk - kBlock}, {6 * kChunk, 7 * kChunk}}));
  EXPECT_EQ(allocator->free_bytes(), 4 * kChunk - 2 * kBlock);
}

TEST(Allocator, RefusesUsedRangesThatCannotBe) {
  EXPECT_EQ(Allocator::with_used(kChunk, {{0, 2 * kBlock}, {kBlock, 3 * kBlock}}).err(), EIO);
  EXPECT_EQ(Allocator::with_used(kChunk, {{kChunk, kChunk + kBlock}}).err(), EIO);
  EXPECT_EQ(Allocator::with_used(kChunk, {{0, 100}}).err(), EIO);
  EXPECT_EQ(Allocator::with_used(kChunk, {{kBlock, kBlock}}).err(), EIO);
  EXPECT_EQ(Allocator::with_used(kChunk, {DataRange::sized(kBlock, UINT64_MAX - 4095)}).err(), EIO);
}

TEST(Allocator, LargeFilesLieCongruent) {
  Allocator allocator(16 * kChunk);
  const auto first = allocate(allocator, 1, {kChunk + 5 * kBlock, kChunk + 6 * kBlock}, true);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].data_offset % kChunk, 5 * kBlock);
  // The same part of the file stays in its chunk, another one gets another.
  const auto before = allocate(allocator, 1, {kChunk, kChunk + 5 * kBlock}, true);
  EXPECT_EQ(before[0].data_offset, first[0].data_offset - 5 * kBlock);
  const auto other = allocate(allocator, 1, {3 * kChunk + kBlock, 3 * kChunk + 2 * kBlock}, true);
  EXPECT_EQ(other[0].data_offset % kChunk, kBlock);
  EXPECT_NE(other[0].data_offset / kChunk, first[0].data_offset / kChunk);
}

TEST(Allocator, ChunksFollowEachOtherWhereTheyCan) {
  Allocator allocator(16 * kChunk);
  allocate(allocator, 2, {0, kBlock}, false);  // somebody else has begun the first chunk
  const auto pieces = allocate(allocator, 1, {kChunk, 5 * kChunk}, true);
  for (size_t i = 1; i < pieces.size(); ++i) EXPECT_TRUE(pieces[i - 1].continues_in(pieces[i]));
}

TEST(Allocator, AFileGoesOnInTheChunkOfAnEarlierLife) {
  auto allocator = Allocator::with_used(4 * kChunk, {{2 * kChunk, 2 * kChunk + 3 * kBlock}});
  ASSERT_TRUE(allocator);
  const auto pieces =
      allocate(*allocator, 1, {3 * kBlock, 4 * kBlock}, true, 2 * kChunk + 3 * kBlock);
  EXPECT_EQ(pieces[0].data_offset, 2 * kChunk + 3 * kBlock);
}

TEST(Allocator, SmallFilesShareAChunkAndStayOutOfOthersReservations) {
  Allocator allocator(4 * kChunk);
  const auto large = allocate(allocator, 1, {0, kBlock}, true);
  const auto small = allocate(allocator, 2, {0, 3 * kBlock}, false);
  const auto small2 = allocate(allocator, 3, {0, kBlock}, false);
  EXPECT_NE(small[0].data_offset / kChunk, large[0].data_offset / kChunk);
  EXPECT_EQ(small2[0].data_offset / kChunk, small[0].data_offset / kChunk);
}

TEST(Allocator, AGoalInAnothersReservationCountsForNothing) {
  Allocator allocator(4 * kChunk);
  const auto large = allocate(allocator, 1, {0, kBlock}, true);
  const auto small = allocate(allocator, 2, {0, kBlock}, false, large[0].data_offset + kBlock);
  EXPECT_NE(small[0].data_offset / kChunk, large[0].data_offset / kChunk);
}

TEST(Allocator, TheFullestChunkThatFitsIsTakenFirst) {
  auto allocator = Allocator::with_used(
      3 * kChunk,
      {{0, kBlock}, {kChunk, 2 * kChunk - 2 * kBlock}, {2 * kChunk, 3 * kChunk - kBlock}});
  ASSERT_TRUE(allocator);
  const auto two = allocate(*allocator, 1, {0, 2 * kBlock}, false);
  EXPECT_EQ(two[0].data_offset, 2 * kChunk - 2 * kBlock);
  const auto one = allocate(*allocator, 1, {2 * kBlock, 3 * kBlock}, false);
  EXPECT_EQ(one[0].data_offset, 3 * kChunk - kBlock);
}

TEST(Allocator, AppendsGoOnWhereTheFileEnds) {
  Allocator allocator(4 * kChunk);
  const auto first = allocate(allocator, 1, {0, kBlock}, false);
  const auto second =
      allocate(allocator, 1, {kBlock, 2 * kBlock}, false, first[0].data_offset + kBlock);
  EXPECT_TRUE(first[0].continues_in(second[0]));
}

TEST(Allocator, SpaceEndsOnlyWithTheLastBlock) {
  Allocator allocator(2 * kChunk);
  allocate(allocator, 1, {0, kBlock}, true);                // reserves a chunk
  allocate(allocator, 1, {kChunk, kChunk + kBlock}, true);  // and the other one
  // All blocks but two are reserved, and still to be had.
  const uint64_t rest = allocator.free_bytes();
  EXPECT_EQ(rest, 2 * kChunk - 2 * kBlock);
  std::vector<Extent> pieces;
  EXPECT_FALSE(allocator.allocate(2, {0, rest + kBlock}, false, {}, pieces));
  EXPECT_TRUE(pieces.empty());
  EXPECT_EQ(allocator.free_bytes(), rest);
  EXPECT_TRUE(allocator.allocate(2, {0, rest}, false, {}, pieces));
  EXPECT_EQ(allocator.free_bytes(), 0u);
}

TEST(Allocator, LargeFilesTakeFragmentsWhenNothingElseIsLeft) {
  auto allocator =
      Allocator::with_used(2 * kChunk, {{0, kChunk - 2 * kBlock}, {kChunk + kBlock, 2 * kChunk}});
  ASSERT_TRUE(allocator);
  EXPECT_EQ(free_ranges(*allocator).size(), 1u);
  const auto pieces = allocate(*allocator, 1, {0, 3 * kBlock}, true);
  EXPECT_EQ(pieces.size(), 2u);
  EXPECT_EQ(allocator->free_bytes(), 0u);
}

TEST(Allocator, DroppedReservationsAreForEverybody) {
  Allocator allocator(kChunk);
  allocate(allocator, 1, {0, kBlock}, true);
  allocator.drop_reservations(2);  // not its owner
  allocator.drop_reservations(1);
  allocator.drop_reservations(1);
  const auto pieces = allocate(allocator, 2, {0, kBlock}, false, kBlock);
  EXPECT_EQ(pieces[0].data_offset, kBlock);
}

TEST(Allocator, AChunkThatComesBackWholeCanBeReservedAgain) {
  Allocator allocator(kChunk);
  const auto first = allocate(allocator, 1, {0, kBlock}, true);
  allocator.free(first[0].data());
  EXPECT_EQ(free_ranges(allocator), (std::vector<DataRange>{{0, kChunk}}));
  const auto second = allocate(allocator, 2, {7 * kBlock, 8 * kBlock}, true);
  EXPECT_EQ(second[0].data_offset, 7 * kBlock);
}

// A plain model: a set of blocks with their owners.
TEST(Allocator, RandomUseAgainstABlockByBlockModel) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  constexpr uint64_t kChunks = 6;
  Allocator allocator(kChunks * kChunk);
  std::map<uint64_t, std::pair<uint64_t, uint64_t>> owner;  // data block → ino, file block
  std::map<std::pair<uint64_t, uint64_t>, uint64_t> data;   // the reverse
  const uint64_t total = kChunks * kChunk / kBlock;
  for (int step = 0; step < 4000; ++step) {
    const uint64_t ino = 1 + random() % 4;
    const bool large = ino <= 2;
    uint64_t block = random() % (3 * kChunk / kBlock);
    const uint64_t most = 1 + random() % (random() % 8 == 0 ? 1200 : 20);
    if (random() % 20 == 0) {
      allocator.drop_reservations(ino);
    } else if (random() % 2 == 0) {
      uint64_t count = 0;  // of a hole at `block`
      while (count < most && !data.contains({ino, block + count})) ++count;
      if (count == 0) continue;
      std::vector<Extent> pieces;
      std::optional<uint64_t> goal;
      if (random() % 2 == 0) goal = random() % total * kBlock;
      const FileRange hole = FileRange::sized(block * kBlock, count * kBlock);
      const bool fits = owner.size() + count <= total;
      ASSERT_EQ(allocator.allocate(ino, hole, large, goal, pieces), fits);
      uint64_t at = hole.begin;
      for (const Extent& piece : pieces) {
        ASSERT_EQ(piece.file_offset, at);
        at += piece.length;
        for (uint64_t i = 0; i < piece.length / kBlock; ++i, ++block) {
          const auto [it, fresh] =
              owner.emplace(piece.data_offset / kBlock + i, std::pair(ino, block));
          ASSERT_TRUE(fresh) << "given twice";
          data.emplace(std::pair(ino, block), piece.data_offset / kBlock + i);
        }
      }
      ASSERT_EQ(at, fits ? hole.end : hole.begin);
    } else {
      for (uint64_t i = 0; i < most; ++i) {
        const auto it = data.find({ino, block + i});
        if (it == data.end()) continue;
        allocator.free(DataRange::sized(it->second * kBlock, kBlock));
        owner.erase(it->second);
        data.erase(it);
      }
    }
    ASSERT_EQ(allocator.free_bytes(), (total - owner.size()) * kBlock);
    if (step % 64 == 0) {
      uint64_t seen = 0;
      allocator.for_each_free([&](DataRange range) {
        for (uint64_t at = range.begin; at < range.end; at += kBlock) {
          ASSERT_FALSE(owner.contains(at / kBlock));
        }
        seen += range.length();
      });
      ASSERT_EQ(seen, allocator.free_bytes());
    }
  }
}

}  // namespace
}  // namespace pmemd
