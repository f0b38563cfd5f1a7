#include "core/base/mutex.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace pmemd {
namespace {

struct Counter {
  Mutex mutex;
  CondVar changed_cv;
  int value PMEMD_GUARDED_BY(mutex) = 0;
};

TEST(Mutex, ExcludesThreads) {
  Counter counter;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i) {
          MutexLock lock(counter.mutex);
          ++counter.value;
        }
      });
    }
  }
  MutexLock lock(counter.mutex);
  EXPECT_EQ(counter.value, 4000);
}

TEST(Mutex, KnowsWhoHoldsIt) {
  Mutex mutex;
  EXPECT_FALSE(mutex.is_held());
  {
    MutexLock lock(mutex);
    EXPECT_TRUE(mutex.is_held());
    std::jthread([&] { EXPECT_FALSE(mutex.is_held()); }).join();
  }
  EXPECT_FALSE(mutex.is_held());
}

TEST(CondVar, WaiterHoldsTheLockBeforeAndAfterAndTheOtherMeanwhile) {
  Counter counter;
  std::jthread other([&] {
    MutexLock lock(counter.mutex);
    EXPECT_TRUE(counter.mutex.is_held());
    counter.value = 1;
    counter.changed_cv.notify_one();
  });
  MutexLock lock(counter.mutex);
  while (counter.value != 1) counter.changed_cv.wait(counter.mutex);
  EXPECT_TRUE(counter.mutex.is_held());
  EXPECT_FALSE(counter.changed_cv.wait_until(counter.mutex, Deadline()));
  EXPECT_TRUE(counter.mutex.is_held());
}

TEST(CondVar, WaitHandsTheLockBackAndForth) {
  Counter counter;
  std::jthread other([&] {
    MutexLock lock(counter.mutex);
    while (counter.value != 1) counter.changed_cv.wait(counter.mutex);
    counter.value = 2;
    counter.changed_cv.notify_one();
  });
  MutexLock lock(counter.mutex);
  counter.value = 1;
  counter.changed_cv.notify_all();
  while (counter.value != 2) counter.changed_cv.wait(counter.mutex);
}

TEST(CondVar, DeadlineInThePastIsOverAtOnceWithTheLockHeld) {
  Counter counter;
  std::jthread other;
  MutexLock lock(counter.mutex);
  EXPECT_FALSE(counter.changed_cv.wait_until(counter.mutex, Clock::now()));
  EXPECT_FALSE(counter.changed_cv.wait_until(counter.mutex, Deadline::min()));
  // Still ours: under TSan a write without it would be a race.
  other = std::jthread([&counter] {
    MutexLock inner(counter.mutex);
    counter.value = 5;
  });
  counter.value = 1;
  EXPECT_EQ(counter.value, 1);
}

TEST(CondVar, WaitUntilIsTrueWhenWokenInTime) {
  Counter counter;
  std::jthread other([&] {
    MutexLock lock(counter.mutex);
    counter.value = 1;
    counter.changed_cv.notify_all();
  });
  MutexLock lock(counter.mutex);
  while (counter.value == 0) {
    ASSERT_TRUE(
        counter.changed_cv.wait_until(counter.mutex, deadline_after(std::chrono::seconds(60))));
  }
}

TEST(DeadlineAfter, CountsFromNow) {
  const Deadline before = Clock::now();
  const Deadline deadline = deadline_after(std::chrono::milliseconds(1500));
  EXPECT_GE(deadline, before + std::chrono::milliseconds(1500));
  EXPECT_LE(deadline, Clock::now() + std::chrono::milliseconds(1500));
  EXPECT_LT(deadline_after(std::chrono::milliseconds(-1)), Clock::now());
}

}  // namespace
}  // namespace pmemd
