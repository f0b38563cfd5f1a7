#include <gtest/gtest.h>

#include <csignal>

#include "client/shim/mapping_table.h"
#include "client/shim/poison.h"

namespace pmemd::test {
namespace {

constexpr uint64_t kPage = 4096;
constexpr KeeperFile kFile = {3, 8};
constexpr KeeperFile kOther = {3, 9};

class Touched : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const KeeperFile file : {kFile, kOther}) shim_touched_forget(file, 0, uint64_t{1} << 40);
  }
};

TEST_F(Touched, KnowsPagesOfAFile) {
  shim_touched_add(kFile, 5 * kPage);
  EXPECT_TRUE(shim_touched_any(kFile, 5 * kPage, 1));
  EXPECT_TRUE(shim_touched_any(kFile, 5 * kPage + 4095, 1));
  EXPECT_TRUE(shim_touched_any(kFile, 0, 100 * kPage));
  EXPECT_FALSE(shim_touched_any(kFile, 0, 5 * kPage));
  EXPECT_FALSE(shim_touched_any(kFile, 6 * kPage, kPage));
  EXPECT_FALSE(shim_touched_any(kOther, 5 * kPage, 1));
}

TEST_F(Touched, ForgetsWhatIsCleared) {
  for (uint64_t page = 0; page < 10; ++page) shim_touched_add(kFile, page * kPage);
  shim_touched_add(kOther, 4 * kPage);
  shim_touched_forget(kFile, 3 * kPage, 4 * kPage);
  for (uint64_t page = 0; page < 10; ++page) {
    EXPECT_EQ(shim_touched_any(kFile, page * kPage, 1), page < 3 || page >= 7) << page;
  }
  EXPECT_TRUE(shim_touched_any(kOther, 4 * kPage, 1));
}

TEST_F(Touched, IsBoundedAndForgetsTheOldest) {
  for (uint64_t page = 0; page < kTouched + 10; ++page) shim_touched_add(kFile, page * kPage);
  EXPECT_FALSE(shim_touched_any(kFile, 0, 10 * kPage));
  EXPECT_TRUE(shim_touched_any(kFile, 10 * kPage, 1));
  EXPECT_TRUE(shim_touched_any(kFile, (kTouched + 9) * kPage, 1));
}

// The keeper doesn't run: whatever is asked can't be answered.
TEST(ShimPoison, WhatCanNotBeAskedAboutIsAsItCame) {
  EXPECT_EQ(shim_judge(0x1000), SHIM_NOT_POISON);
  const mapping mapping = {0x10000, 0x20000, 0, kFile, 1, PMEMD_INFO_REFAULT_MCEERR, 1, 1};
  ASSERT_EQ(mapping_table_reserve(1), 0);
  mapping_table_splice(0, 0, &mapping, 1);
  EXPECT_EQ(shim_judge(0x11000), SHIM_NOT_POISON);
  EXPECT_FALSE(shim_touched_any(kFile, 0, 0x10000));
  mapping_table_splice(0, 1, nullptr, 0);
}

}  // namespace
}  // namespace pmemd::test
