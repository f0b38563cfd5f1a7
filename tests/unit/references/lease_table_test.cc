#include "core/references/lease_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bitset>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace pmemd {
namespace {

constexpr std::chrono::seconds kLong{20};
using Ranges = std::vector<FileRange>;

class LeaseTableTest : public testing::Test {
 protected:
  LeaseTableTest() { ref_.reinit(); }
  ~LeaseTableTest() override {
    table_.give_back_all();
    if (!ref_.is_dying()) ref_.kill();
  }

  PercpuRef ref_;
  LeaseTable table_{ref_};
};

TEST_F(LeaseTableTest, StartsEmpty) {
  EXPECT_TRUE(table_.inodes().empty());
  EXPECT_TRUE(table_.ranges(1).empty());
  EXPECT_EQ(table_.totals().ranges, 0u);
  EXPECT_EQ(table_.totals().bytes, 0u);
  table_.give_back(1, {0, 100});
  table_.give_back_all();
  EXPECT_EQ(ref_.count(), 0u);
}

TEST_F(LeaseTableTest, EachDistinctRangeHoldsOneReference) {
  EXPECT_TRUE(table_.lend(1, {0, 4096}));
  EXPECT_EQ(ref_.count(), 1u);
  EXPECT_TRUE(table_.lend(1, {8192, 12288}));
  EXPECT_EQ(ref_.count(), 2u);
  EXPECT_TRUE(table_.lend(2, {0, 4096})) << "another inode, another range";
  EXPECT_EQ(ref_.count(), 3u);
  EXPECT_TRUE(table_.lend(1, {4096, 8192})) << "joins the first two";
  EXPECT_EQ(ref_.count(), 2u);
  EXPECT_EQ(table_.ranges(1), (Ranges{{0, 12288}}));
  EXPECT_EQ(table_.totals().bytes, 16384u);
}

TEST_F(LeaseTableTest, LendingAgainChangesNothing) {
  EXPECT_TRUE(table_.lend(1, {0, 8192}));
  EXPECT_TRUE(table_.lend(1, {0, 8192}));
  EXPECT_TRUE(table_.lend(1, {4096, 8192}));
  EXPECT_EQ(ref_.count(), 1u);
  EXPECT_EQ(table_.totals().bytes, 8192u);
}

TEST_F(LeaseTableTest, EmptyRangeLendsNothingAndMakesNoEntry) {
  EXPECT_TRUE(table_.lend(1, {5, 5}));
  EXPECT_TRUE(table_.inodes().empty());
  EXPECT_EQ(ref_.count(), 0u);
}

TEST_F(LeaseTableTest, GivingBackTheMiddleMakesTwo) {
  ASSERT_TRUE(table_.lend(1, {0, 100}));
  table_.give_back(1, {40, 60});
  EXPECT_EQ(ref_.count(), 2u);
  EXPECT_EQ(table_.ranges(1), (Ranges{{0, 40}, {60, 100}}));
  table_.give_back(1, {0, 100});
  EXPECT_EQ(ref_.count(), 0u);
  EXPECT_TRUE(table_.inodes().empty());
}

// A file that is read all over, a page here and a page there.
TEST_F(LeaseTableTest, RangesOfOneInodeGetCoarserAndCoverWhatWasLent) {
  constexpr uint64_t kPages = 300'000;
  const auto page = [](uint64_t i) { return FileRange::sized(2 * i * kPageSize, kPageSize); };
  uint64_t most = 0;
  for (uint64_t i = 0; i < kPages; ++i) {
    ASSERT_TRUE(table_.lend(1, page(i * 7919 % kPages)));
    most = std::max(most, table_.totals().ranges);
  }
  EXPECT_LE(most, 65'536u);
  EXPECT_GE(most, 60'000u) << "no sooner than it must be";
  RangeSet<FileSpace> lent;
  for (const FileRange& range : table_.ranges(1)) lent.insert(range);
  EXPECT_EQ(lent.count(), table_.totals().ranges);
  EXPECT_EQ(lent.bytes(), table_.totals().bytes);
  for (uint64_t i = 0; i < kPages; ++i) ASSERT_TRUE(lent.contains(page(i))) << i;
  EXPECT_EQ(ref_.count(), table_.totals().ranges);
  table_.give_back(1, kWholeFile);
  EXPECT_EQ(ref_.count(), 0u);
}

// A file that is punched all over.
TEST_F(LeaseTableTest, RangesOfOneInodeThatIsCutGetCoarserToo) {
  constexpr uint64_t kPages = 300'000;
  ASSERT_TRUE(table_.lend(1, {0, 2 * kPages * kPageSize}));
  uint64_t most = 0;
  for (uint64_t i = 0; i < kPages; ++i) {
    table_.give_back(1, FileRange::sized(2 * (i * 7919 % kPages) * kPageSize, kPageSize));
    most = std::max(most, table_.totals().ranges);
    ASSERT_EQ(ref_.count(), table_.totals().ranges);
  }
  EXPECT_LE(most, 65'536u);
  EXPECT_GE(most, 60'000u) << "no sooner than it must be";
  RangeSet<FileSpace> lent;
  for (const FileRange& range : table_.ranges(1)) lent.insert(range);
  EXPECT_EQ(lent.bytes(), table_.totals().bytes);
  for (uint64_t i = 0; i < kPages; ++i) {
    ASSERT_TRUE(lent.contains(FileRange::sized((2 * i + 1) * kPageSize, kPageSize))) << i;
  }
  table_.give_back(1, kWholeFile);
  EXPECT_EQ(ref_.count(), 0u);
}

TEST_F(LeaseTableTest, WhenTheTableIsFullEachInodeHasFewRanges) {
  constexpr uint64_t kInodes = 4'000, kTouches = 300;
  for (uint64_t ino = 1; ino <= kInodes; ++ino) {
    for (uint64_t i = 0; i < kTouches; ++i) {
      ASSERT_TRUE(table_.lend(ino, FileRange::sized(2 * i * kPageSize, kPageSize)));
    }
  }
  EXPECT_GE(table_.totals().ranges, LeaseTable::kMaxRanges);
  EXPECT_LE(table_.totals().ranges, LeaseTable::kMaxRanges + kInodes * LeaseTable::kMinRanges);
  EXPECT_LE(table_.ranges(kInodes).size(), LeaseTable::kMinRanges);
}

TEST_F(LeaseTableTest, GivingBackWhatWasNotLentIsNothing) {
  ASSERT_TRUE(table_.lend(1, {10, 20}));
  table_.give_back(1, {0, 10});
  table_.give_back(1, {20, 30});
  table_.give_back(1, {15, 15});
  table_.give_back(2, kWholeFile);
  EXPECT_EQ(ref_.count(), 1u);
  EXPECT_EQ(table_.ranges(1), (Ranges{{10, 20}}));
}

TEST_F(LeaseTableTest, GivingBackAllPutsEveryReference) {
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(table_.lend(i % 7 + 1, {2 * i, 2 * i + 1}));
  EXPECT_EQ(ref_.count(), 100u);
  auto inodes = table_.inodes();
  std::ranges::sort(inodes);
  EXPECT_EQ(inodes, (std::vector<uint64_t>{1, 2, 3, 4, 5, 6, 7}));
  table_.give_back_all();
  EXPECT_EQ(ref_.count(), 0u);
  EXPECT_EQ(table_.totals().ranges, 0u);
  EXPECT_EQ(table_.totals().bytes, 0u);
}

TEST_F(LeaseTableTest, DyingStillLendsWhileSomethingIsOut) {
  ASSERT_TRUE(table_.lend(1, {0, 10}));
  ref_.kill();
  EXPECT_TRUE(table_.lend(1, {20, 30}));
  EXPECT_EQ(ref_.count(), 2u);
}

TEST_F(LeaseTableTest, DrainedLendsNothing) {
  ref_.kill();
  EXPECT_FALSE(table_.lend(1, {0, 10}));
  EXPECT_TRUE(table_.inodes().empty());
  EXPECT_EQ(table_.totals().ranges, 0u);
  EXPECT_TRUE(ref_.is_drained());
}

TEST_F(LeaseTableTest, DyingCanStillBeCutInTwoWithTheOnlyReference) {
  ASSERT_TRUE(table_.lend(1, {0, 100}));
  ref_.kill();
  table_.give_back(1, {40, 60});
  EXPECT_EQ(ref_.count(), 2u);
  table_.give_back(1, {0, 40});
  EXPECT_FALSE(ref_.is_drained());
  table_.give_back(1, {60, 100});
  EXPECT_TRUE(ref_.is_drained());
}

constexpr uint64_t kBytes = 64;
using Model = std::array<std::bitset<kBytes>, 4>;

Ranges runs(const std::bitset<kBytes>& model) {
  Ranges found;
  for (uint64_t i = 0; i < kBytes; ++i) {
    if (!model[i]) continue;
    if (!found.empty() && found.back().end == i) {
      ++found.back().end;
    } else {
      found.push_back({i, i + 1});
    }
  }
  return found;
}

void compare(const LeaseTable& table, const PercpuRef& ref, const Model& model) {
  uint64_t ranges = 0;
  uint64_t bytes = 0;
  std::vector<uint64_t> inodes;
  for (uint64_t ino = 0; ino < model.size(); ++ino) {
    const auto expected = runs(model[ino]);
    ASSERT_EQ(table.ranges(ino), expected) << "inode " << ino;
    ranges += expected.size();
    bytes += model[ino].count();
    if (!expected.empty()) inodes.push_back(ino);
  }
  auto found = table.inodes();
  std::ranges::sort(found);
  ASSERT_EQ(found, inodes);
  ASSERT_EQ(table.totals().ranges, ranges);
  ASSERT_EQ(table.totals().bytes, bytes);
  ASSERT_EQ(ref.count(), ranges) << "references held = distinct ranges";
}

TEST_F(LeaseTableTest, RandomOperationsAgreeWithAPlainModel) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    Model model;
    for (int i = 0; i < 400; ++i) {
      const uint64_t ino = random() % model.size();
      const uint64_t begin = random() % kBytes;
      const FileRange range{begin, std::min(kBytes, begin + random() % 12)};
      const uint64_t what = random() % 64;
      if (what == 0) {
        table_.give_back_all();
        model = {};
      } else {
        if (what % 2 == 0) {
          ASSERT_TRUE(table_.lend(ino, range));
        } else {
          table_.give_back(ino, range);
        }
        for (uint64_t b = range.begin; b < range.end; ++b) model[ino][b] = what % 2 == 0;
      }
      ASSERT_NO_FATAL_FAILURE(compare(table_, ref_, model)) << "operation " << i;
    }
    table_.give_back_all();
  }
}

TEST_F(LeaseTableTest, ThreadsLendAndGiveBackWithoutLosingAReference) {
  {
    std::vector<std::jthread> threads;
    for (uint64_t t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937_64 random(t);  // seeds 0 to 7
        for (int i = 0; i < 1000; ++i) {
          const uint64_t ino = random() % 3;
          const uint64_t begin = random() % 512;
          const FileRange range{begin, begin + 1 + random() % 64};
          switch (random() % 5) {
            case 0:
            case 1:
              EXPECT_TRUE(table_.lend(ino, range));
              break;
            case 2:
            case 3:
              table_.give_back(ino, range);
              break;
            default:
              if (random() % 50 == 0) table_.give_back_all();
          }
        }
      });
    }
  }
  EXPECT_EQ(ref_.count(), table_.totals().ranges);
  table_.give_back_all();
  EXPECT_EQ(ref_.count(), 0u);
}

// Lenders that run into the kill: each lends or is refused, and when the last range is given back,
// table and reference may be freed at once.
TEST(LeaseTable, KillWhileLendingDrainsOnceAllIsGivenBack) {
  for (int round = 0; round < 100; ++round) {
    auto ref = std::make_unique<PercpuRef>();
    ref->reinit();
    auto table = std::make_unique<LeaseTable>(*ref);
    {
      std::vector<std::jthread> threads;
      for (uint64_t t = 0; t < 4; ++t) {
        threads.emplace_back([&table, t] {
          for (uint64_t i = 0; i < 50; ++i) (void)table->lend(t, {2 * i, 2 * i + 1});
        });
      }
      ref->kill();
    }
    std::jthread giver([raw = table.get()] { raw->give_back_all(); });
    ASSERT_TRUE(ref->wait(deadline_after(kLong)));
    EXPECT_EQ(table->totals().ranges, 0u);
    giver.join();
    table.reset();
    ref.reset();
  }
}

TEST(LeaseTableDeathTest, DestroyedWithALeaseOutIsABug) {
  EXPECT_DEATH(
      {
        PercpuRef ref;
        ref.reinit();
        LeaseTable table(ref);
        (void)table.lend(1, {0, 1});
      },
      "lent_");
}

}  // namespace
}  // namespace pmemd
