#include "core/device/p2p_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "tests/unit/device/memory_store.h"

namespace pmemd {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kPages = 32;
constexpr uint64_t kSize = kPages * kPageSize;
constexpr uint64_t kHandle = 7;
constexpr pid_t kPid = 4321;

class P2pPoolTest : public testing::Test {
 protected:
  P2pPoolTest() {
    ref_.reinit();
    pool_.attach(ref_, memory_);
  }
  ~P2pPoolTest() override {
    memory_.discard_error = 0;
    pool_.begin_return_of_all();
    finish_all();
    if (!ref_.is_dying()) ref_.kill();
    EXPECT_TRUE(ref_.wait(Clock::now())) << ref_.count() << " references left";
    pool_.detach();
  }

  FileRange alloc(uint64_t pages, uint64_t handle = kHandle, pid_t pid = kPid) {
    const auto range = pool_.alloc(handle, pid, pages * kPageSize);
    EXPECT_TRUE(range) << range.error().describe();
    return range.value_or(FileRange());
  }
  void finish_all() {
    for (const P2pBuffer& buffer : pool_.returning()) (void)pool_.finish_return(buffer.id);
  }
  uint64_t lowest_free_after(uint64_t handle) {  // where the next page would come from
    const auto range = pool_.alloc(handle, kPid, kPageSize);
    return range ? range->begin : UINT64_MAX;
  }

  PercpuRef ref_;
  MemoryStore memory_{kSize};
  P2pPool pool_{"namespace0.0", kSize};
};

TEST_F(P2pPoolTest, ABufferHoldsAReferenceAPage) {
  const FileRange range = alloc(3);
  EXPECT_EQ(range.length(), 3 * kPageSize);
  EXPECT_EQ(ref_.count(), 3U);
  EXPECT_TRUE(pool_.contains(range));
  EXPECT_FALSE(pool_.contains({range.begin, range.end + 1}));
  ASSERT_TRUE(pool_.begin_return(kHandle, range.begin));
  EXPECT_FALSE(pool_.contains({range.begin, range.begin + 1}));
  EXPECT_EQ(ref_.count(), 3U) << "the page cache may have its pages still";
  finish_all();
  EXPECT_EQ(ref_.count(), 0U);
  EXPECT_EQ(pool_.counts().free_bytes, kSize);
}

TEST_F(P2pPoolTest, LengthsOutsideOfThePoolAreEINVAL) {
  EXPECT_EQ(pool_.alloc(kHandle, kPid, 0).err(), EINVAL);
  EXPECT_EQ(pool_.alloc(kHandle, kPid, kPageSize - 1).err(), EINVAL);
  EXPECT_EQ(pool_.alloc(kHandle, kPid, kSize + kPageSize).err(), EINVAL);
  EXPECT_EQ(pool_.alloc(kHandle, kPid, UINT64_MAX & ~(kPageSize - 1)).err(), EINVAL);
}

TEST_F(P2pPoolTest, WhatDoesNotFitIsENOMEM) {
  alloc(kPages - 1);
  EXPECT_EQ(pool_.alloc(kHandle, kPid, 2 * kPageSize).err(), ENOMEM);
  alloc(1);
  EXPECT_EQ(pool_.alloc(kHandle, kPid, kPageSize).err(), ENOMEM);
  EXPECT_EQ(ref_.count(), kPages);
}

TEST_F(P2pPoolTest, FragmentsAreNoRoomForAWholeBuffer) {
  std::vector<FileRange> buffers;
  for (uint64_t i = 0; i < kPages; ++i) buffers.push_back(alloc(1));
  for (uint64_t i = 0; i < kPages; i += 2) {
    ASSERT_TRUE(pool_.begin_return(kHandle, buffers[i].begin));
  }
  finish_all();
  EXPECT_EQ(pool_.alloc(kHandle, kPid, 2 * kPageSize).err(), ENOMEM);
  EXPECT_EQ(ref_.count(), kPages / 2);
}

TEST_F(P2pPoolTest, AChargeGoesWithItsBuffer) {
  UserBudget budget({.per_user = 4, .users = 4, .total = 4});
  const auto alloc_charged = [&](uint64_t pages) {
    return pool_.alloc(kHandle, kPid, pages * kPageSize, budget.charge(4711).value());
  };
  ASSERT_TRUE(alloc_charged(1));
  ASSERT_TRUE(alloc_charged(1));
  EXPECT_EQ(alloc_charged(kPages).err(), ENOMEM);
  EXPECT_EQ(budget.charged(), 2u) << "what was refused costs nothing";
  pool_.begin_return_of_all();
  EXPECT_EQ(budget.charged(), 2u) << "a returning buffer is still there";
  finish_all();
  EXPECT_EQ(budget.charged(), 0u);
}

TEST_F(P2pPoolTest, AllocAfterKillIsENXIO) {
  ref_.kill();
  EXPECT_EQ(pool_.alloc(kHandle, kPid, kPageSize).err(), ENXIO);
  EXPECT_TRUE(ref_.is_drained());
}

TEST_F(P2pPoolTest, AllocWithoutADeviceIsENXIO) {
  P2pPool detached("namespace0.1", kSize);
  EXPECT_EQ(detached.alloc(kHandle, kPid, kPageSize).err(), ENXIO);
}

TEST_F(P2pPoolTest, WithoutRoomOnTheHostNothingIsTaken) {
  memory_.allocate_error = ENOSPC;
  EXPECT_EQ(pool_.alloc(kHandle, kPid, kPageSize).err(), ENOSPC);
  EXPECT_EQ(ref_.count(), 0U);
  EXPECT_EQ(pool_.counts().free_bytes, kSize);
  EXPECT_TRUE(pool_.wait_empty(Clock::now()));
}

TEST_F(P2pPoolTest, OnlyItsHandleFreesABufferAndAtItsBegin) {
  const FileRange range = alloc(2);
  EXPECT_EQ(pool_.begin_return(kHandle + 1, range.begin).err(), ENOENT);
  EXPECT_EQ(pool_.begin_return(kHandle, range.begin + kPageSize).err(), ENOENT);
  EXPECT_TRUE(pool_.begin_return(kHandle, range.begin));
  EXPECT_EQ(pool_.begin_return(kHandle, range.begin).err(), ENOENT) << "freed twice";
}

TEST_F(P2pPoolTest, AReturnedBufferIsZeroedBeforeItIsTakenAgain) {
  const FileRange range = alloc(1);
  std::ranges::fill(memory_.part(range.begin, kPageSize), std::byte{0xab});
  ASSERT_TRUE(pool_.begin_return(kHandle, range.begin));
  EXPECT_NE(lowest_free_after(kHandle), range.begin) << "taken before its pages were dropped";
  finish_all();
  EXPECT_EQ(lowest_free_after(kHandle), range.begin);
  EXPECT_TRUE(std::ranges::all_of(memory_.part(range.begin, kPageSize),
                                  [](std::byte b) { return b == std::byte{0}; }));
}

TEST_F(P2pPoolTest, WhatCannotBeZeroedIsNotUsedAgainAndHoldsNothing) {
  const FileRange range = alloc(2);
  ASSERT_TRUE(pool_.begin_return(kHandle, range.begin));
  memory_.discard_error = EIO;
  EXPECT_EQ(pool_.finish_return(pool_.returning().at(0).id).err(), EIO);
  memory_.discard_error = 0;
  EXPECT_EQ(ref_.count(), 0U);
  EXPECT_TRUE(pool_.wait_empty(Clock::now()));
  EXPECT_EQ(pool_.counts().lost_bytes, 2 * kPageSize);
  EXPECT_EQ(lowest_free_after(kHandle), range.end);
}

TEST_F(P2pPoolTest, BuffersGoWithTheirHandleOrTheirProcess) {
  alloc(1, 1, 100);
  alloc(2, 2, 100);
  alloc(3, 2, 200);
  EXPECT_EQ(pool_.begin_return_of_handle(1), 1U);
  EXPECT_EQ(pool_.begin_return_of_process(100), 1U);
  EXPECT_EQ(pool_.begin_return_of_handle(1), 0U);
  finish_all();
  EXPECT_EQ(ref_.count(), 3U);
  EXPECT_EQ(pool_.begin_return_of_all(), 1U);
}

TEST_F(P2pPoolTest, FinishingTwiceIsOnce) {
  alloc(1);
  const FileRange other = alloc(1);
  ASSERT_TRUE(pool_.begin_return(kHandle, other.begin));
  const uint64_t id = pool_.returning().at(0).id;
  EXPECT_TRUE(pool_.finish_return(id));
  EXPECT_TRUE(pool_.finish_return(id));
  EXPECT_EQ(ref_.count(), 1U);
  for (const P2pBuffer& buffer : pool_.list()) EXPECT_TRUE(pool_.finish_return(buffer.id));
  EXPECT_EQ(ref_.count(), 1U) << "a buffer that is out isn't taken away";
}

TEST_F(P2pPoolTest, WaitEndsWithTheLastReturn) {
  alloc(1);
  EXPECT_FALSE(pool_.wait_empty(Clock::now()));
  pool_.begin_return_of_all();
  EXPECT_FALSE(pool_.wait_empty(Clock::now())) << "returning isn't returned";
  std::thread returner([&] { finish_all(); });
  EXPECT_TRUE(pool_.wait_empty(deadline_after(std::chrono::seconds(30))));
  returner.join();
}

TEST_F(P2pPoolTest, InterruptEndsWaits) {
  alloc(1);
  std::thread interrupter([&] { pool_.interrupt(); });
  EXPECT_FALSE(pool_.wait_empty(deadline_after(std::chrono::minutes(10))));
  interrupter.join();
}

TEST_F(P2pPoolTest, WhoKnowsThatAllReturnIsNotInterrupted) {
  alloc(1);
  pool_.interrupt();
  EXPECT_FALSE(pool_.wait_returned(Clock::now()));
  pool_.begin_return_of_all();
  std::thread returner([&] { finish_all(); });
  EXPECT_TRUE(pool_.wait_returned(deadline_after(std::chrono::seconds(30))));
  returner.join();
}

TEST_F(P2pPoolTest, ListTellsWhoHasWhat) {
  const FileRange first = alloc(2, 1, 100);
  alloc(1, 2, 200);
  ASSERT_TRUE(pool_.begin_return(2, first.end));
  const auto list = pool_.list();
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].range, first);
  EXPECT_EQ(list[0].handle, 1U);
  EXPECT_EQ(list[0].pid, 100);
  EXPECT_FALSE(list[0].is_returning);
  EXPECT_TRUE(list[1].is_returning);
  EXPECT_EQ(pool_.counts().buffers, 2U);
  EXPECT_EQ(pool_.counts().pages, 3U);
}

// Random operations against one entry a page.
TEST_F(P2pPoolTest, MatchesAMapOfPages) {
  constexpr unsigned kSeed = 31337;
  SCOPED_TRACE(kSeed);
  enum class Page { kFree, kOut, kReturning };
  std::vector<Page> model(kPages, Page::kFree);
  std::vector<FileRange> out;
  std::mt19937 random(kSeed);
  const auto set = [&](FileRange range, Page state) {
    std::fill(model.begin() + static_cast<long>(range.begin / kPageSize),
              model.begin() + static_cast<long>(range.end / kPageSize), state);
  };
  for (int round = 0; round < 20'000; ++round) {
    const uint64_t dice = random() % 10;
    if (dice < 5) {
      const uint64_t pages = 1 + random() % 5;
      const auto run = std::ranges::search_n(model, static_cast<long>(pages), Page::kFree);
      const auto range = pool_.alloc(kHandle, kPid, pages * kPageSize);
      ASSERT_EQ(range.err(), run.empty() ? ENOMEM : 0);
      if (!range) continue;
      ASSERT_EQ(range->begin / kPageSize, static_cast<uint64_t>(run.begin() - model.begin()));
      ASSERT_TRUE(std::ranges::all_of(memory_.part(range->begin, range->length()),
                                      [](std::byte b) { return b == std::byte{0}; }));
      std::ranges::fill(memory_.part(range->begin, range->length()), std::byte{0x5a});
      set(*range, Page::kOut);
      out.push_back(*range);
    } else if (dice < 8 && !out.empty()) {
      const size_t pick = random() % out.size();
      ASSERT_TRUE(pool_.begin_return(kHandle, out[pick].begin));
      set(out[pick], Page::kReturning);
      out.erase(out.begin() + static_cast<long>(pick));
    } else if (const auto returning = pool_.returning(); !returning.empty()) {
      const P2pBuffer& buffer = returning[random() % returning.size()];
      ASSERT_TRUE(pool_.finish_return(buffer.id));
      set(buffer.range, Page::kFree);
    }
    const auto is = [&](Page state) {
      return static_cast<uint64_t>(std::ranges::count(model, state));
    };
    ASSERT_EQ(ref_.count(), kPages - is(Page::kFree));
    ASSERT_EQ(pool_.counts().free_bytes, is(Page::kFree) * kPageSize);
    const uint64_t page = random() % kPages;
    ASSERT_EQ(pool_.contains(FileRange::sized(page * kPageSize, kPageSize)),
              model[page] == Page::kOut);
  }
}

// Threads take and return while the device is killed: what was taken before comes back, and then
// the reference is drained.
TEST_F(P2pPoolTest, KillDuringAlloc) {
  for (int round = 0; round < 40; ++round) {
    PercpuRef ref;
    ref.reinit();
    P2pPool pool("namespace0.1", kSize);
    pool.attach(ref, memory_);
    std::vector<std::thread> threads;
    for (uint64_t handle = 1; handle <= 3; ++handle) {
      threads.emplace_back([&, handle] {
        for (uint64_t pages = 1;; pages = pages % 4 + 1) {
          const auto range = pool.alloc(handle, kPid, pages * kPageSize);
          if (range.err() == ENXIO) break;
          if (range && pages != 2) {
            EXPECT_TRUE(pool.begin_return(handle, range->begin));
          }
          for (const P2pBuffer& buffer : pool.returning()) {
            EXPECT_TRUE(pool.finish_return(buffer.id));
          }
        }
        pool.begin_return_of_handle(handle);
      });
    }
    ref.kill();
    for (auto& thread : threads) thread.join();
    for (const P2pBuffer& buffer : pool.returning()) EXPECT_TRUE(pool.finish_return(buffer.id));
    ASSERT_TRUE(pool.wait_empty(Clock::now()));
    ASSERT_TRUE(ref.wait(Clock::now())) << ref.count();
    pool.detach();
  }
}

TEST(P2pPoolDeathTest, DetachWithABufferOut) {
  PercpuRef ref;
  ref.reinit();
  MemoryStore memory(kSize);
  P2pPool pool("namespace0.1", kSize);
  pool.attach(ref, memory);
  ASSERT_TRUE(pool.alloc(kHandle, kPid, kPageSize));
  EXPECT_DEATH(pool.detach(), "buffers_.empty");
  pool.begin_return_of_all();
  ASSERT_TRUE(pool.finish_return(pool.returning().at(0).id));
  ref.kill();
  pool.detach();
}

}  // namespace
}  // namespace pmemd
