#include "core/base/srcu.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "tests/unit/let_others_fall_asleep.h"

namespace pmemd {
namespace {

constexpr std::chrono::seconds kLong{20};

TEST(Srcu, CallbackRunsAtOnceWhenNothingIsOpen) {
  Srcu srcu;
  int ran = 0;
  srcu.retire([&] { ++ran; });
  EXPECT_EQ(ran, 1);
}

TEST(Srcu, CallbackWaitsForTheSectionThatWasOpenAndForNoLaterOne) {
  Srcu srcu;
  auto before = srcu.read_lock();
  int ran = 0;
  srcu.retire([&] { ++ran; });
  auto after = srcu.read_lock();
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(srcu.open_sections(), 2u);
  before.close();
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(srcu.open_sections(), 1u);
}

TEST(Srcu, ClosingALaterSectionEndsNothing) {
  Srcu srcu;
  auto before = srcu.read_lock();
  int ran = 0;
  srcu.retire([&] { ++ran; });
  {
    auto after = srcu.read_lock();
  }
  EXPECT_EQ(ran, 0);
  before.close();
  EXPECT_EQ(ran, 1);
}

// A section that is younger than the first callback and older than the second: the grace period
// under way when the second comes doesn't do for it.
TEST(Srcu, CallbackDuringAGracePeriodGetsOneOfItsOwn) {
  Srcu srcu;
  std::vector<int> ran;
  auto a = srcu.read_lock();
  srcu.retire([&] { ran.push_back(1); });
  auto b = srcu.read_lock();
  srcu.retire([&] { ran.push_back(2); });
  a.close();
  EXPECT_EQ(ran, std::vector{1});
  b.close();
  EXPECT_EQ(ran, (std::vector{1, 2}));
}

TEST(Srcu, YoungerSectionThatClosesFirstLeavesTheOrder) {
  Srcu srcu;
  std::vector<int> ran;
  auto a = srcu.read_lock();
  srcu.retire([&] { ran.push_back(1); });
  auto b = srcu.read_lock();
  srcu.retire([&] { ran.push_back(2); });
  b.close();
  EXPECT_TRUE(ran.empty());
  a.close();
  EXPECT_EQ(ran, (std::vector{1, 2}));
}

TEST(Srcu, CallbackMayRetireAndOpenSections) {
  Srcu srcu;
  std::vector<int> ran;
  auto section = srcu.read_lock();
  srcu.retire([&] {
    auto inner = srcu.read_lock();
    srcu.retire([&] { ran.push_back(2); });
    ran.push_back(1);
  });
  section.close();
  EXPECT_EQ(ran, (std::vector{1, 2}));
}

TEST(Srcu, CallbackIsDestroyedOnceItHasRun) {
  Srcu srcu;
  auto held = std::make_shared<int>(1);
  srcu.retire([held] {});
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Srcu, MovedSectionClosesOnce) {
  Srcu srcu;
  auto a = srcu.read_lock();
  Srcu::ReadSection b = std::move(a);
  a.close();  // NOLINT(bugprone-use-after-move): this is what is asked
  EXPECT_EQ(srcu.open_sections(), 1u);
  b = srcu.read_lock();  // closes what it had
  EXPECT_EQ(srcu.open_sections(), 1u);
  Srcu::ReadSection& same = b;
  b = std::move(same);
  EXPECT_EQ(srcu.open_sections(), 1u);
  b = Srcu::ReadSection();
  EXPECT_EQ(srcu.open_sections(), 0u);
}

TEST(Srcu, SynchronizeWithNothingOpenSucceedsEvenInThePast) {
  Srcu srcu;
  EXPECT_TRUE(srcu.synchronize(Deadline::min()));
  EXPECT_TRUE(srcu.synchronize(Clock::now()));
}

TEST(Srcu, SynchronizeTimesOutAndASecondOneFinishes) {
  Srcu srcu;
  auto section = srcu.read_lock();
  EXPECT_EQ(srcu.synchronize(Clock::now()).err(), ETIMEDOUT);
  EXPECT_EQ(srcu.synchronize(Clock::now()).err(), ETIMEDOUT);
  section.close();
  EXPECT_TRUE(srcu.synchronize(Clock::now()));
}

TEST(Srcu, SynchronizeIsWokenByTheClose) {
  Srcu srcu;
  auto section = srcu.read_lock();
  std::atomic<bool> closed = false;
  std::jthread closer([&, mine = std::move(section)]() mutable {
    let_others_fall_asleep();
    closed = true;
    mine.close();
  });
  const Deadline deadline = deadline_after(kLong);
  EXPECT_TRUE(srcu.synchronize(deadline));
  EXPECT_LT(Clock::now(), deadline) << "woken";
  EXPECT_TRUE(closed);
}

// What it is there for: no reader sees what was taken away before synchronize() returned.
TEST(Srcu, NoReaderOutlivesSynchronize) {
  Srcu srcu;
  std::atomic<int*> shared = new int(0);
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> sum = 0;
  {
    std::vector<std::jthread> readers;
    for (int t = 0; t < 3; ++t) {
      readers.emplace_back([&] {
        while (!stop) {
          const auto section = srcu.read_lock();
          sum += static_cast<uint64_t>(*shared.load());  // freed: the sanitizers tell
        }
      });
    }
    for (int i = 1; i <= 300; ++i) {
      const int* old = shared.exchange(new int(i));
      EXPECT_TRUE(srcu.synchronize(deadline_after(kLong)));
      delete old;
    }
    stop = true;
  }
  delete shared.load();
}

// Each reader opens its next section before it closes the last: there is never a quiet moment.
TEST(Srcu, SteadyOverlappingSectionsDelayNobody) {
  Srcu srcu;
  int ran = 0;
  auto current = srcu.read_lock();
  for (int step = 1; step <= 1000; ++step) {
    srcu.retire([&] { ++ran; });
    auto next = srcu.read_lock();
    current = std::move(next);
    ASSERT_GE(ran, step - 2) << "at step " << step;
  }
  current.close();
  EXPECT_EQ(ran, 1000);
}

TEST(Srcu, SynchronizeReturnsUnderSteadySectionsOfManyThreads) {
  Srcu srcu;
  std::atomic<bool> stop = false;
  std::latch started(4);
  std::vector<std::jthread> readers;
  for (int t = 0; t < 4; ++t) {
    readers.emplace_back([&] {
      auto current = srcu.read_lock();
      started.count_down();
      while (!stop) {
        auto next = srcu.read_lock();
        current = std::move(next);
      }
    });
  }
  started.wait();
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(srcu.synchronize(deadline_after(kLong)));
  stop = true;
}

// Several threads retire and synchronize at once: each finds its own callback, and all that were
// retired before by anybody, already run.
TEST(Srcu, SynchronizeReturnsAfterAllEarlierCallbacks) {
  Srcu srcu;
  constexpr uint64_t kThreads = 4;
  constexpr uint64_t kRounds = 200;
  std::atomic<uint64_t> retired = 0;
  std::atomic<uint64_t> ran = 0;
  {
    std::vector<std::jthread> threads;
    for (uint64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        for (uint64_t i = 0; i < kRounds; ++i) {
          {
            const auto section = srcu.read_lock();
            srcu.retire([&] { ++ran; });
            ++retired;
          }
          const uint64_t before = retired;
          EXPECT_TRUE(srcu.synchronize(deadline_after(kLong)));
          EXPECT_GE(ran, before);
        }
      });
    }
  }
  EXPECT_EQ(ran, kThreads * kRounds);
}

TEST(Srcu, CallbacksOfOneThreadRunInOrderOneAtATime) {
  Srcu srcu;
  constexpr int kThreads = 4;
  constexpr int kRounds = 500;
  std::atomic<int> inside = 0;
  std::vector<std::vector<int>> ran(kThreads);  // by the retirer; no lock: one callback at a time
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kRounds; ++i) {
          const auto section = srcu.read_lock();
          srcu.retire([&, t, i] {
            EXPECT_EQ(inside.fetch_add(1), 0);
            ran[static_cast<size_t>(t)].push_back(i);
            inside.fetch_sub(1);
          });
        }
      });
    }
  }
  EXPECT_TRUE(srcu.synchronize(deadline_after(kLong)));
  for (const auto& order : ran) {
    ASSERT_EQ(order.size(), static_cast<size_t>(kRounds));
    for (int i = 0; i < kRounds; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
  }
}

// Who has synchronized may free the object: a thread that has just closed its section, and ran the
// callbacks on its way out, must not touch it any more.
TEST(Srcu, MayBeDestroyedAsSoonAsSynchronizeHasReturned) {
  for (int round = 0; round < 1000; ++round) {
    auto srcu = std::make_unique<Srcu>();
    std::latch start(3);
    std::jthread first([&start, section = srcu->read_lock()]() mutable {
      start.arrive_and_wait();
      section.close();
    });
    std::jthread second([&start, section = srcu->read_lock()]() mutable {
      start.arrive_and_wait();
      section.close();
    });
    start.arrive_and_wait();
    ASSERT_TRUE(srcu->synchronize(deadline_after(kLong)));
    srcu.reset();
  }
}

// One at a time: who comes while a callback runs leaves its own to the thread that runs it.
TEST(Srcu, CallbackOfAnotherThreadWaitsForTheOneThatRuns) {
  Srcu srcu;
  std::latch inside(1);
  std::latch go_on(1);
  std::vector<int> ran;
  std::jthread runner([&] {
    srcu.retire([&] {
      inside.count_down();
      go_on.wait();
      ran.push_back(1);
    });
  });
  inside.wait();
  srcu.retire([&] { ran.push_back(2); });
  EXPECT_EQ(srcu.synchronize(Clock::now()).err(), ETIMEDOUT) << "it comes behind them";
  go_on.count_down();
  runner.join();
  EXPECT_EQ(ran, (std::vector{1, 2}));
}

// Random opens, closes and retires against what each callback must have waited for.
class SrcuModel {
 public:
  explicit SrcuModel(uint64_t seed) : random_(seed) {}

  void run() {
    for (int i = 0; i < 400; ++i) {
      switch (random_() % 4) {
        case 0:
        case 1:
          open_.emplace(next_id_++, srcu_.read_lock());
          break;
        case 2:
          close_one();
          break;
        default:
          retire();
      }
      ASSERT_EQ(srcu_.open_sections(), open_.size());
    }
    while (!open_.empty()) close_one();
    EXPECT_EQ(ran_, retired_);
  }

 private:
  void close_one() {
    if (open_.empty()) return;
    auto it = open_.begin();
    std::advance(it, static_cast<long>(random_() % open_.size()));
    auto section = std::move(it->second);
    open_.erase(it);  // first, since the callbacks look at open_
    section.close();
  }

  void retire() {
    std::set<int> waits_for;
    for (const auto& [id, section] : open_) waits_for.insert(id);
    srcu_.retire([this, number = retired_++, waits_for] {
      EXPECT_EQ(number, ran_++) << "out of order, or twice";
      for (const int id : waits_for) EXPECT_FALSE(open_.contains(id)) << "section " << id;
    });
  }

  std::mt19937_64 random_;
  Srcu srcu_;
  std::map<int, Srcu::ReadSection> open_;
  int next_id_ = 0;
  int retired_ = 0;
  int ran_ = 0;
};

TEST(Srcu, RandomOperationsKeepOrderAndWaitForWhatWasOpen) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SrcuModel(seed).run();
  }
}

TEST(SrcuDeathTest, DestroyedWithASectionOpenIsABug) {
  EXPECT_DEATH(
      {
        auto srcu = std::make_unique<Srcu>();
        const auto section = srcu->read_lock();
        srcu.reset();
      },
      "readers_");
}

}  // namespace
}  // namespace pmemd
