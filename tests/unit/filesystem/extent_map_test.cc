#include "core/filesystem/extent_map.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "core/base/units.h"

namespace pmemd {
namespace {

constexpr uint64_t kBlock = kPageSize;

Extent blocks(uint64_t file, uint64_t data, uint64_t count) {
  return {file * kBlock, data * kBlock, count * kBlock};
}
FileRange file_blocks(uint64_t begin, uint64_t end) { return {begin * kBlock, end * kBlock}; }

TEST(ExtentMap, EmptyIsOneHole) {
  const ExtentMap map;
  EXPECT_TRUE(map.find(kWholeFile).empty());
  EXPECT_EQ(map.holes({5, 10}), (std::vector<FileRange>{{5, 10}}));
  EXPECT_FALSE(map.next(0));
  EXPECT_FALSE(map.goal(0));
  EXPECT_EQ(map.bytes(), 0u);
}

TEST(ExtentMap, FindClipsToTheByte) {
  const ExtentMap map({blocks(1, 10, 2), blocks(5, 20, 1)});
  EXPECT_EQ(map.find({kBlock + 7, 6 * kBlock - 1}),
            (std::vector<Extent>{{kBlock + 7, 10 * kBlock + 7, 2 * kBlock - 7},
                                 {5 * kBlock, 20 * kBlock, kBlock - 1}}));
  EXPECT_TRUE(map.find(file_blocks(3, 5)).empty());
  EXPECT_TRUE(map.find({kBlock, kBlock}).empty());
}

TEST(ExtentMap, HolesLieBetween) {
  const ExtentMap map({blocks(1, 10, 2), blocks(5, 20, 1)});
  EXPECT_EQ(map.holes(file_blocks(0, 7)),
            (std::vector<FileRange>{file_blocks(0, 1), file_blocks(3, 5), file_blocks(6, 7)}));
  EXPECT_TRUE(map.holes(file_blocks(1, 3)).empty());
}

TEST(ExtentMap, NextIsTheOneThatHoldsOrFollows) {
  const ExtentMap map({blocks(1, 10, 2), blocks(5, 20, 1)});
  EXPECT_EQ(map.next(0)->file_offset, kBlock);
  EXPECT_EQ(map.next(3 * kBlock - 1)->file_offset, kBlock);
  EXPECT_EQ(map.next(3 * kBlock)->file_offset, 5 * kBlock);
  EXPECT_FALSE(map.next(6 * kBlock));
}

TEST(ExtentMap, AdjacentExtentsBecomeOneRow) {
  ExtentMap map({blocks(0, 10, 1)});
  const auto added = {blocks(1, 11, 1)};
  const auto plan = map.plan({}, added);
  EXPECT_TRUE(plan.erase.empty());
  EXPECT_EQ(plan.put, (std::vector<Extent>{blocks(0, 10, 2)}));
  map.apply(plan);
  EXPECT_EQ(map.all(), plan.put);
}

TEST(ExtentMap, FillingTheGapMergesBothSides) {
  ExtentMap map({blocks(0, 10, 1), blocks(2, 12, 1)});
  const auto added = {blocks(1, 11, 1)};
  const auto plan = map.plan({}, added);
  EXPECT_EQ(plan.erase, std::vector<uint64_t>{2 * kBlock});
  EXPECT_EQ(plan.put, (std::vector<Extent>{blocks(0, 10, 3)}));
}

TEST(ExtentMap, AdjacentInTheFileAloneStayApart) {
  const ExtentMap map({blocks(0, 10, 1)});
  const auto added = {blocks(1, 12, 1)};
  const auto plan = map.plan({}, added);
  EXPECT_TRUE(plan.erase.empty());
  EXPECT_EQ(plan.put, (std::vector<Extent>{blocks(1, 12, 1)}));
}

TEST(ExtentMap, CuttingTheMiddleLeavesTwo) {
  ExtentMap map({blocks(0, 10, 5)});
  const auto plan = map.plan(file_blocks(1, 3), {});
  EXPECT_TRUE(plan.erase.empty());
  EXPECT_EQ(plan.put, (std::vector<Extent>{blocks(0, 10, 1), blocks(3, 13, 2)}));
  EXPECT_EQ(plan.freed, (std::vector<DataRange>{{11 * kBlock, 13 * kBlock}}));
  map.apply(plan);
  EXPECT_EQ(map.bytes(), 3 * kBlock);
}

TEST(ExtentMap, CuttingAHoleOrNothingIsNoChange) {
  const ExtentMap map({blocks(0, 10, 1), blocks(4, 14, 1)});
  EXPECT_TRUE(map.plan(file_blocks(1, 4), {}).empty());
  EXPECT_TRUE(map.plan({}, {}).empty());
  EXPECT_TRUE(map.plan({0, 0}, {}).empty());
}

TEST(ExtentMap, APlanChangesNothing) {
  const ExtentMap map({blocks(0, 10, 5)});
  (void)map.plan(kWholeFile, {});
  EXPECT_EQ(map.all(), (std::vector<Extent>{blocks(0, 10, 5)}));
}

TEST(ExtentMap, TheGoalIsCongruentWithANeighbour) {
  const uint64_t chunk = kSubsectionSize / kBlock;
  const ExtentMap map({blocks(4, 100, 2), blocks(chunk + 8, 5000, 1)});
  EXPECT_EQ(map.goal(6 * kBlock), 102 * kBlock);   // goes on
  EXPECT_EQ(map.goal(20 * kBlock), 116 * kBlock);  // behind, in the same chunk
  EXPECT_EQ(map.goal(1 * kBlock), 97 * kBlock);    // before it
  EXPECT_EQ(map.goal((chunk + 2) * kBlock), 4994 * kBlock);
  EXPECT_FALSE(map.goal(5 * chunk * kBlock));
}

TEST(ExtentMap, RandomChangesAgainstABlockByBlockModel) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  constexpr uint64_t kBlocks = 64;
  ExtentMap map;
  std::map<uint64_t, uint64_t> model;  // file block → data block
  std::map<uint64_t, Extent> rows;     // the table
  uint64_t next_data = 0;
  for (int step = 0; step < 5000; ++step) {
    const uint64_t begin = random() % kBlocks;
    const uint64_t end = begin + 1 + random() % (kBlocks - begin);
    ExtentMap::Plan plan;
    if (random() % 2 == 0) {
      plan = map.plan(file_blocks(begin, end), {});
      uint64_t freed = 0;
      for (uint64_t block = begin; block < end; ++block) freed += model.erase(block);
      for (const DataRange& range : plan.freed) freed -= range.length() / kBlock;
      ASSERT_EQ(freed, 0u);
    } else {
      std::vector<Extent> added;
      for (const FileRange& hole : map.holes(file_blocks(begin, end))) {
        next_data += random() % 2;  // sometimes contiguous with what came before
        added.push_back({hole.begin, next_data * kBlock, hole.length()});
        for (uint64_t at = hole.begin; at < hole.end; at += kBlock) {
          model[at / kBlock] = next_data++;
        }
      }
      plan = map.plan({}, added);
    }
    for (const uint64_t offset : plan.erase) ASSERT_EQ(rows.erase(offset), 1u);
    for (const Extent& row : plan.put) rows[row.file_offset] = row;
    map.apply(plan);

    std::map<uint64_t, uint64_t> mapped;
    std::vector<Extent> all = map.all();
    for (size_t i = 0; i < all.size(); ++i) {
      if (i > 0) {
        ASSERT_FALSE(all[i - 1].continues_in(all[i]));
      }
      ASSERT_EQ(rows.at(all[i].file_offset), all[i]);
      for (uint64_t at = 0; at < all[i].length; at += kBlock) {
        mapped[(all[i].file_offset + at) / kBlock] = (all[i].data_offset + at) / kBlock;
      }
    }
    ASSERT_EQ(rows.size(), all.size());
    ASSERT_EQ(mapped, model);
    ASSERT_EQ(map.bytes(), model.size() * kBlock);
  }
}

}  // namespace
}  // namespace pmemd
