#include "core/base/fault.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

#include "tests/unit/let_others_fall_asleep.h"

namespace pmemd {
namespace {

FaultPoint point_a("test.a", "the first");
FaultPoint point_b("test.b", "the second");

class FaultTest : public testing::Test {
 protected:
  ~FaultTest() override { FaultPoint::disarm_all(); }
  static FaultPoint::Info info(std::string_view name) {
    const auto list = FaultPoint::list();
    return *std::ranges::find(list, name, &FaultPoint::Info::name);
  }
};

TEST_F(FaultTest, NotArmedNothingHappens) {
  EXPECT_TRUE(point_a.hit());
  EXPECT_EQ(info("test.a").left, 0u);
}

TEST_F(FaultTest, FailsAsOftenAsAskedForAndThenNoMore) {
  ASSERT_TRUE(FaultPoint::arm("test.a", {.count = 2}));
  EXPECT_EQ(info("test.a").left, 2u);
  const auto first = point_a.hit();
  EXPECT_EQ(first.err(), EIO);
  EXPECT_NE(first.error().message.find("test.a"), std::string::npos);
  EXPECT_TRUE(point_b.hit()) << "only the one that was named";
  EXPECT_EQ(point_a.hit().err(), EIO);
  EXPECT_TRUE(point_a.hit());
  EXPECT_GE(info("test.a").hits, 2u);
}

TEST_F(FaultTest, FailsWithTheErrnoAskedFor) {
  ASSERT_TRUE(FaultPoint::arm("test.a", {.err = ENOSPC}));
  EXPECT_EQ(point_a.hit().err(), ENOSPC);
}

TEST_F(FaultTest, UnknownNamesAndSenselessPlansAreRefused) {
  EXPECT_EQ(FaultPoint::arm("test.c", {}).err(), ENOENT);
  EXPECT_EQ(FaultPoint::arm("test.a", {.count = 0}).err(), EINVAL);
  EXPECT_EQ(FaultPoint::arm("test.a", {.delay = std::chrono::minutes(11)}).err(), EINVAL);
  EXPECT_TRUE(point_a.hit());
}

TEST_F(FaultTest, StallsForItsTimeAndGoesOn) {
  ASSERT_TRUE(FaultPoint::arm("test.a", {.delay = std::chrono::milliseconds(2)}));
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(point_a.hit());
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(2));
}

TEST_F(FaultTest, DisarmingEndsAStallAtOnce) {
  ASSERT_TRUE(FaultPoint::arm("test.a", {.delay = std::chrono::minutes(9)}));
  std::atomic<bool> done = false;
  std::jthread stalled([&] {
    EXPECT_TRUE(point_a.hit());
    done = true;
  });
  while (info("test.a").left != 0) std::this_thread::yield();
  let_others_fall_asleep();
  EXPECT_FALSE(done);
  FaultPoint::disarm_all();
  stalled.join();
  EXPECT_TRUE(done);
}

TEST_F(FaultTest, ListIsByNameAndSaysWhatEachIs) {
  const auto list = FaultPoint::list();
  EXPECT_TRUE(std::ranges::is_sorted(list, {}, &FaultPoint::Info::name));
  EXPECT_EQ(info("test.b").what, "the second");
}

}  // namespace
}  // namespace pmemd
