#include "core/pagemap/percpu_ref.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "tests/unit/let_others_fall_asleep.h"

namespace pmemd {
namespace {

constexpr std::chrono::seconds kLong{20};

bool drained_now(PercpuRef& ref) { return ref.wait(Clock::now()).has_value(); }

TEST(PercpuRef, StartsDeadAndDrained) {
  PercpuRef ref;
  EXPECT_TRUE(ref.is_dying());
  EXPECT_TRUE(ref.is_drained());
  EXPECT_EQ(ref.count(), 0u);
  EXPECT_FALSE(ref.tryget_live());
  EXPECT_FALSE(ref.tryget());
  EXPECT_TRUE(drained_now(ref));
}

TEST(PercpuRef, LiveGivesReferencesAndCountsThem) {
  PercpuRef ref;
  ref.reinit();
  EXPECT_FALSE(ref.is_dying());
  EXPECT_FALSE(ref.is_drained());
  EXPECT_EQ(ref.count(), 0u);
  {
    const auto a = ref.tryget_live();
    const auto b = ref.tryget();
    EXPECT_TRUE(a);
    EXPECT_TRUE(b);
    EXPECT_EQ(ref.count(), 2u);
  }
  EXPECT_EQ(ref.count(), 0u);
  ref.kill();
  EXPECT_TRUE(ref.is_drained());
}

TEST(PercpuRef, LiveIsNeverDrained) {
  PercpuRef ref;
  ref.reinit();
  EXPECT_EQ(ref.wait(Clock::now()).err(), ETIMEDOUT);
  EXPECT_EQ(ref.wait(Deadline::min()).err(), ETIMEDOUT);
  ref.kill();
}

TEST(PercpuRef, KilledGivesNoLiveReferenceButOneBesideAnother) {
  PercpuRef ref;
  ref.reinit();
  auto held = ref.tryget_live();
  ref.kill();
  EXPECT_TRUE(ref.is_dying());
  EXPECT_FALSE(ref.is_drained());
  EXPECT_EQ(ref.count(), 1u);
  EXPECT_FALSE(ref.tryget_live());
  auto beside = ref.tryget();
  EXPECT_TRUE(beside);
  EXPECT_EQ(ref.count(), 2u);
  held.reset();
  EXPECT_EQ(ref.wait(Clock::now()).err(), ETIMEDOUT);
  beside.reset();
  EXPECT_FALSE(ref.tryget());
  EXPECT_TRUE(drained_now(ref));
}

TEST(PercpuRef, WaitTimesOutAndASecondOneFinishes) {
  PercpuRef ref;
  ref.reinit();
  auto held = ref.tryget_live();
  ref.kill();
  EXPECT_EQ(ref.wait(Clock::now()).err(), ETIMEDOUT);
  std::jthread putter([mine = std::move(held)]() mutable {
    let_others_fall_asleep();
    mine.reset();
  });
  const Deadline deadline = deadline_after(kLong);
  EXPECT_TRUE(ref.wait(deadline));
  EXPECT_LT(Clock::now(), deadline) << "woken";
}

TEST(PercpuRef, SeveralMayWait) {
  PercpuRef ref;
  ref.reinit();
  auto held = ref.tryget_live();
  ref.kill();
  std::latch waiting(4);
  std::vector<std::jthread> waiters;
  for (int t = 0; t < 4; ++t) {
    waiters.emplace_back([&] {
      waiting.count_down();
      const Deadline deadline = deadline_after(kLong);
      EXPECT_TRUE(ref.wait(deadline));
      EXPECT_LT(Clock::now(), deadline) << "woken";
    });
  }
  waiting.wait();
  let_others_fall_asleep();
  held.reset();
}

TEST(PercpuRef, ReinitBeginsANewLife) {
  PercpuRef ref;
  for (int life = 0; life < 3; ++life) {
    ref.reinit();
    EXPECT_TRUE(ref.tryget_live());
    ref.kill();
    EXPECT_TRUE(drained_now(ref));
  }
}

TEST(PercpuRef, ResurrectTakesAKillBackWithReferencesOut) {
  PercpuRef ref;
  ref.reinit();
  auto held = ref.tryget_live();
  ref.kill();
  ref.resurrect();
  EXPECT_FALSE(ref.is_dying());
  EXPECT_EQ(ref.count(), 1u);
  EXPECT_TRUE(ref.tryget_live());
  held.reset();
  EXPECT_EQ(ref.count(), 0u);
  EXPECT_FALSE(ref.is_drained());  // the initial reference is the owner's again
  ref.kill();
  EXPECT_TRUE(ref.is_drained());
}

TEST(PercpuRef, ResurrectTakesAKillBackWhenDrained) {
  PercpuRef ref;
  ref.reinit();
  ref.kill();
  ASSERT_TRUE(ref.is_drained());
  ref.resurrect();
  EXPECT_EQ(ref.count(), 0u);
  EXPECT_TRUE(ref.tryget_live());
  ref.kill();
}

TEST(PercpuRefRef, MovesAndPutsOnce) {
  PercpuRef ref;
  ref.reinit();
  auto a = ref.tryget_live();
  PercpuRef::Ref b = std::move(a);
  EXPECT_FALSE(a);  // NOLINT(bugprone-use-after-move): this is what is asked
  a.reset();
  EXPECT_EQ(ref.count(), 1u);
  b = ref.tryget_live();  // puts what it had
  EXPECT_EQ(ref.count(), 1u);
  PercpuRef::Ref& same = b;
  b = std::move(same);
  EXPECT_EQ(ref.count(), 1u);
  b.reset();
  b.reset();
  EXPECT_EQ(ref.count(), 0u);
  ref.kill();
}

TEST(PercpuRefRef, ReleasedIsOwedAPut) {
  PercpuRef ref;
  ref.reinit();
  ref.tryget_live().release();
  EXPECT_EQ(ref.count(), 1u);
  ref.put();
  EXPECT_EQ(ref.count(), 0u);
  ref.kill();
}

TEST(PercpuRef, RandomLifeAgreesWithAPlainCount) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    PercpuRef ref;
    bool live = false;
    std::vector<PercpuRef::Ref> held;
    for (int i = 0; i < 500; ++i) {
      switch (random() % 6) {
        case 0:
        case 1:
          if (auto got = ref.tryget_live())
            held.push_back(std::move(got));
          else
            ASSERT_FALSE(live);
          break;
        case 2:
          if (auto got = ref.tryget())
            held.push_back(std::move(got));
          else
            ASSERT_TRUE(!live && held.empty());
          break;
        case 3:
          if (!held.empty()) held.pop_back();
          break;
        case 4:
          if (live) {
            ref.kill();
            live = false;
          }
          break;
        default:
          if (live) break;
          if (held.empty() && random() % 2 == 0) {
            ref.reinit();
          } else {
            ref.resurrect();
          }
          live = true;
      }
      ASSERT_EQ(ref.is_dying(), !live);
      ASSERT_EQ(ref.count(), held.size());
      ASSERT_EQ(ref.is_drained(), !live && held.empty());
    }
    if (live) ref.kill();
  }
}

// Each thread keeps one reference while it takes and puts others; when it sees the kill, it puts
// its own, the last thing that it does with the object. Who waited frees it at once.
void kill_under_load(int threads_count) {
  auto ref = std::make_unique<PercpuRef>();
  ref->reinit();
  std::latch running(threads_count);
  std::atomic<bool> killed = false;
  std::vector<std::jthread> threads;
  for (int t = 0; t < threads_count; ++t) {
    threads.emplace_back([&, own = ref->tryget_live(), raw = ref.get()]() mutable {
      running.count_down();
      for (int i = 1;; ++i) {
        if (i % 64 == 0) std::this_thread::yield();  // more threads than CPUs
        const bool was_killed = killed;
        auto got = raw->tryget_live();
        if (!got) break;
        EXPECT_FALSE(was_killed) << "a live reference after kill() returned";
        EXPECT_TRUE(raw->tryget());
      }
      own.reset();
    });
  }
  running.wait();
  ref->kill();
  killed = true;
  ASSERT_TRUE(ref->wait(deadline_after(kLong)));
  EXPECT_EQ(ref->count(), 0u);
  ref.reset();
}

TEST(PercpuRef, KillDuringTrygetDrainsAndMayBeFreedAtOnce) {
  for (int round = 0; round < 50; ++round) kill_under_load(8);
}

// Two last puts and a tryget() between them meet in the slow path.
TEST(PercpuRef, LastPutsRaceWithTrygetAndTheFree) {
  for (int round = 0; round < 300; ++round) {
    auto ref = std::make_unique<PercpuRef>();
    ref->reinit();
    std::latch start(3);
    std::vector<std::jthread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&start, own = ref->tryget_live(), raw = ref.get()]() mutable {
        start.arrive_and_wait();
        {
          const auto beside = raw->tryget();
        }
        own.reset();
      });
    }
    ref->kill();
    start.arrive_and_wait();
    ASSERT_TRUE(ref->wait(deadline_after(kLong)));
    ref.reset();
  }
}

// Who polls sees the last put at its earliest moment.
TEST(PercpuRef, PollingWaiterMayFreeAtOnceToo) {
  for (int round = 0; round < 500; ++round) {
    auto ref = std::make_unique<PercpuRef>();
    ref->reinit();
    std::latch start(2);
    std::jthread putter([&start, own = ref->tryget_live()]() mutable {
      start.arrive_and_wait();
      own.reset();
    });
    ref->kill();
    start.arrive_and_wait();
    while (!ref->wait(Deadline::min())) std::this_thread::yield();
    ref.reset();
  }
}

TEST(PercpuRef, KillAndResurrectUnderLoadLoseNoReference) {
  PercpuRef ref;
  ref.reinit();
  std::atomic<bool> stop = false;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        while (!stop) {
          const auto a = ref.tryget_live();
          const auto b = ref.tryget();
          EXPECT_TRUE(!a || b) << "a reference that is held keeps the count from zero";
        }
      });
    }
    for (int i = 0; i < 2000; ++i) {
      ref.kill();
      EXPECT_FALSE(ref.tryget_live());
      ref.resurrect();
      EXPECT_TRUE(ref.tryget_live());
    }
    stop = true;
  }
  EXPECT_EQ(ref.count(), 0u);
  ref.kill();
  EXPECT_TRUE(ref.is_drained());
}

TEST(PercpuRefDeathTest, BugsOfTheOwnerAreCaught) {
  EXPECT_DEATH(
      {
        PercpuRef ref;
        ref.kill();
      },
      "kDead");
  EXPECT_DEATH(
      {
        PercpuRef ref;
        ref.reinit();
        ref.reinit();
      },
      "is_drained");
  EXPECT_DEATH(
      {
        PercpuRef ref;
        ref.reinit();
        ref.resurrect();
      },
      "is_dying");
  EXPECT_DEATH(
      {
        PercpuRef ref;
        ref.put();
      },
      "kOne");
  EXPECT_DEATH(
      {
        PercpuRef ref;
        ref.reinit();
      },
      "is_drained");
}

}  // namespace
}  // namespace pmemd
