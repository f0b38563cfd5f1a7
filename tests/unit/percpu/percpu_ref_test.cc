#include "core/percpu/percpu_ref.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <random>
#include <thread>
#include <utility>
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

TEST(PercpuRef, ManyAreOneStep) {
  PercpuRef ref;
  EXPECT_FALSE(ref.tryget_live_many(3));
  EXPECT_FALSE(ref.tryget_many(3));
  ref.reinit();
  EXPECT_TRUE(ref.tryget_live_many(3));
  EXPECT_TRUE(ref.tryget_many(2));
  ref.get_many(4);
  EXPECT_EQ(ref.count(), 9u);
  ref.kill();
  EXPECT_EQ(ref.count(), 9u);
  EXPECT_FALSE(ref.tryget_live_many(1));
  EXPECT_TRUE(ref.tryget_many(2));
  ref.get_many(1);
  ref.put_many(10);
  EXPECT_EQ(ref.count(), 2u);
  EXPECT_FALSE(ref.is_drained());
  ref.put_many(2);
  EXPECT_TRUE(ref.is_drained());
  EXPECT_FALSE(ref.tryget_many(1));
}

TEST(PercpuRef, NoneAtAllIsNoPut) {
  int released = 0;
  PercpuRef ref([&] { ++released; });
  ref.put_many(0);
  ref.reinit();
  EXPECT_TRUE(ref.tryget_live_many(0));
  ref.put_many(0);
  ref.kill();
  ref.put_many(0);
  EXPECT_EQ(released, 1);
}

TEST(PercpuRef, ReleaseRunsOnceALifeBeforeItIsDrained) {
  int released = 0;
  bool was_drained = false;
  PercpuRef* self = nullptr;
  PercpuRef ref([&] {
    ++released;
    was_drained = self->is_drained() || self->wait(Clock::now()).has_value();
    EXPECT_FALSE(self->tryget());
  });
  self = &ref;
  for (int life = 1; life <= 3; ++life) {
    ref.reinit();
    auto held = ref.tryget_live();
    ref.kill();
    EXPECT_EQ(released, life - 1);
    held.reset();
    EXPECT_EQ(released, life);
    EXPECT_FALSE(was_drained);
    EXPECT_TRUE(ref.is_drained());
  }
  ref.resurrect();  // a life of its own, since the last one was over
  ref.kill();
  EXPECT_EQ(released, 4);
  ref.reinit();
  auto held = ref.tryget_live();
  ref.kill();
  ref.resurrect();  // the same life
  held.reset();
  ref.kill();
  EXPECT_EQ(released, 5);
}

TEST(PercpuRef, ResurrectWaitsForTheReleaseThatRuns) {
  std::latch in_release(1);
  std::atomic<bool> release_over = false;
  PercpuRef ref([&, first = true]() mutable {
    if (!std::exchange(first, false)) return;
    in_release.count_down();
    let_others_fall_asleep();
    release_over = true;
  });
  ref.reinit();
  auto held = ref.tryget_live();
  ref.kill();
  {
    std::jthread putter([mine = std::move(held)]() mutable { mine.reset(); });
    in_release.wait();
    ref.resurrect();
    EXPECT_TRUE(release_over);
    EXPECT_TRUE(ref.tryget_live());
  }
  ref.kill();
  EXPECT_TRUE(ref.is_drained());
}

TEST(PercpuRef, TakenInOneThreadAndPutInAnother) {
  PercpuRef ref;
  ref.reinit();
  for (int i = 0; i < 3; ++i) ref.tryget_live().release();
  std::jthread([&ref] { ref.put_many(2); }).join();
  EXPECT_EQ(ref.count(), 1u);
  ref.kill();
  EXPECT_EQ(ref.count(), 1u);
  std::jthread([&ref] { ref.put(); }).join();
  EXPECT_TRUE(ref.is_drained());
}

// Destructors of thread_locals that are older than the thread's row run when it has none any more.
TEST(PercpuRef, CountsAtTheEndOfAThread) {
  PercpuRef ref;
  ref.reinit();
  std::jthread([&ref] {
    struct AtEnd {
      PercpuRef* ref = nullptr;
      PercpuRef::Ref held;
      ~AtEnd() {
        EXPECT_EQ(ThreadCells::mine(ThreadCells::kNoColumn), nullptr);
        EXPECT_TRUE(ref->tryget_live());
        EXPECT_TRUE(ref->tryget());
        held.reset();
      }
    };
    static thread_local AtEnd at_end;
    at_end.ref = &ref;
    at_end.held = ref.tryget_live();
    EXPECT_EQ(ref.count(), 1u);
  }).join();
  EXPECT_EQ(ref.count(), 0u);
  ref.kill();
  EXPECT_TRUE(ref.is_drained());
}

TEST(PercpuRef, ThreadsBeyondTheTableCountAsWell) {
  constexpr int kThreads = ThreadCells::kMaxThreads + 8;
  PercpuRef ref;
  ref.reinit();
  std::atomic<int> without_a_row = 0;
  {
    std::latch all_hold(kThreads + 1);
    std::latch killed(1);
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        const auto held = ref.tryget_live();
        EXPECT_TRUE(held);
        if (ThreadCells::mine(ThreadCells::kNoColumn) == nullptr) ++without_a_row;
        all_hold.arrive_and_wait();
        killed.wait();
        EXPECT_FALSE(ref.tryget_live());
        EXPECT_TRUE(ref.tryget());
      });
    }
    all_hold.arrive_and_wait();
    EXPECT_GE(without_a_row, 8);
    EXPECT_EQ(ref.count(), static_cast<uint64_t>(kThreads));
    ref.kill();
    EXPECT_EQ(ref.count(), static_cast<uint64_t>(kThreads));
    killed.count_down();
  }
  EXPECT_TRUE(ref.is_drained());
  std::jthread([&] { EXPECT_NE(ThreadCells::mine(ThreadCells::kNoColumn), nullptr); }).join();
}

TEST(PercpuRef, RefsBeyondTheTableCountAsWell) {
  std::vector<ThreadCells::Column> taken;
  for (;;) {
    const auto column = ThreadCells::take_column();
    if (column == ThreadCells::kNoColumn) break;
    taken.push_back(column);
  }
  EXPECT_LT(taken.size(), ThreadCells::kMaxColumns);
  EXPECT_GT(taken.size(), ThreadCells::kMaxColumns / 2);
  {
    PercpuRef ref;
    for (int life = 0; life < 2; ++life) {
      ref.reinit();
      EXPECT_FALSE(ref.is_dying());
      ref.get_many(2);
      auto held = ref.tryget_live();
      EXPECT_TRUE(held);
      EXPECT_EQ(ref.count(), 3u);
      ref.kill();
      EXPECT_FALSE(ref.tryget_live());
      ref.resurrect();
      EXPECT_TRUE(ref.tryget_live());
      ref.kill();
      ref.put_many(2);
      held.reset();
      EXPECT_TRUE(ref.is_drained());
      EXPECT_FALSE(ref.tryget());
    }
  }
  for (const auto column : taken) ThreadCells::give_back_column(column);
}

// A new one gets the column of the one before, with sums in it.
TEST(PercpuRef, AColumnIsUsedAgain) {
  const auto next = ThreadCells::take_column();
  ThreadCells::give_back_column(next);
  for (int i = 0; i < 3; ++i) {
    PercpuRef ref;
    ref.reinit();
    EXPECT_EQ(ref.count(), 0u);
    EXPECT_TRUE(ref.tryget_live_many(5));
    ref.kill();
    EXPECT_EQ(ref.count(), 5u);
    ref.put_many(5);
    EXPECT_TRUE(ref.is_drained());
  }
  EXPECT_EQ(ThreadCells::take_column(), next) << "given back";
  ThreadCells::give_back_column(next);
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
    std::latch running(4);
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        running.count_down();
        while (!stop) {
          const auto a = ref.tryget_live();
          const auto b = ref.tryget();
          EXPECT_TRUE(!a || b) << "a reference that is held keeps the count from zero";
        }
      });
    }
    running.wait();
    for (int i = 0; i < 100; ++i) {  // each waits until threads preempted inside have run
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
      "killed what is dying");
  EXPECT_DEATH(
      {
        PercpuRef ref;
        ref.reinit();
        ref.reinit();
      },
      "drained_");
  EXPECT_DEATH(
      {
        PercpuRef ref;
        ref.reinit();
        ref.resurrect();
      },
      "resurrected what is live");
  EXPECT_DEATH(
      {
        PercpuRef ref;
        ref.put();
      },
      "more puts than gets");
  EXPECT_DEATH(
      {
        PercpuRef ref;
        ref.get_many(1);
      },
      "there was none");
  EXPECT_DEATH(
      {
        PercpuRef ref;
        ref.reinit();
        ref.put();  // while live, nobody looks
        ref.kill();
      },
      "more puts than gets");
  EXPECT_DEATH(
      {
        PercpuRef ref;
        ref.reinit();
      },
      "drained_");
}

}  // namespace
}  // namespace pmemd
