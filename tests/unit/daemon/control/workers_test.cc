#include "daemon/control/workers.h"

#include <gtest/gtest.h>

#include <semaphore>

namespace pmemd {
namespace {

using Kind = ControlWorkers::Kind;

constexpr uid_t kAlice = 70'001, kBob = 70'002, kCarol = 70'003, kDave = 70'004;
constexpr unsigned kThreads = 2;
constexpr size_t kPlaces = 8;

// All threads are held up, so that what is submitted stays in the queue.
class ControlWorkersTest : public testing::Test {
 protected:
  void SetUp() override {
    auto started = ControlWorkers::start(kThreads, kPlaces);
    ASSERT_TRUE(started);
    workers_ = *std::move(started);
    for (unsigned i = 0; i < kThreads; ++i) {
      ASSERT_TRUE(workers_->submit(Kind::kTells, 0, [this] {
        entered_.release();
        go_.acquire();
      }));
      entered_.acquire();
    }
  }
  void TearDown() override { go_.release(kThreads); }

  // How many of a user's calls find a place.
  unsigned fill(Kind kind, uid_t uid) {
    unsigned count = 0;
    while (true) {
      const auto submitted = workers_->submit(kind, uid, [] {});
      if (!submitted) {
        EXPECT_EQ(submitted.err(), EBUSY);
        return count;
      }
      ++count;
    }
  }

  std::counting_semaphore<> entered_{0}, go_{0};
  std::unique_ptr<ControlWorkers> workers_;
};

TEST_F(ControlWorkersTest, UsersLeaveOneAnotherAndRootPlacesInTheQueue) {
  EXPECT_EQ(fill(Kind::kTells, kAlice), 2u);
  EXPECT_EQ(fill(Kind::kTells, kBob), 2u);
  EXPECT_EQ(fill(Kind::kTells, kCarol), 2u);
  EXPECT_EQ(fill(Kind::kTells, kDave), 0u) << "the last quarter is root's";
  EXPECT_EQ(fill(Kind::kTells, 0), 2u);
}

TEST_F(ControlWorkersTest, RootMayChangeThingsHoweverManyOthersWantTo) {
  for (const uid_t uid : {kAlice, kBob, kCarol, kDave}) fill(Kind::kChanges, uid);
  EXPECT_EQ(fill(Kind::kChanges, 0), 1u) << "half of the queue is for changes";
  EXPECT_GE(fill(Kind::kTells, 0), 1u);
}

TEST_F(ControlWorkersTest, APlaceIsFreeAgainWhenTheCallRuns) {
  std::counting_semaphore<> ran{0};
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(workers_->submit(Kind::kTells, kAlice, [&] { ran.release(); }));
  }
  EXPECT_EQ(fill(Kind::kTells, kAlice), 0u);
  go_.release(kThreads);
  for (int i = 0; i < 2; ++i) ran.acquire();
  EXPECT_TRUE(workers_->submit(Kind::kTells, kAlice, [] {}));
}

}  // namespace
}  // namespace pmemd
