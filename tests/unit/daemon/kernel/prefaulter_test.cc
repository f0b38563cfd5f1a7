#include "daemon/kernel/prefaulter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <future>
#include <semaphore>
#include <string>
#include <vector>

#include "core/base/units.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd {
namespace {

constexpr uint64_t kIno = 7;
constexpr uint64_t kSize = 8 * kMiB;

// Reads a file of the host's in place of the mount's.
class PrefaulterTest : public testing::Test {
 protected:
  PrefaulterTest() {
    const UniqueFd fd(open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    EXPECT_EQ(ftruncate(fd.get(), kSize), 0);
  }

  Prefaulter::Ports ports() {
    return {.open =
                [this](uint64_t ino, const std::string& path) {
                  opened_.push_back(std::to_string(ino) + path);
                  may_open_.acquire();
                  if (ino != kIno) errno = ESTALE;
                  return UniqueFd(ino == kIno ? open(path_.c_str(), O_RDONLY | O_CLOEXEC) : -1);
                },
            .memory = [this]() -> Result<HostMemory> { return memory_; }};
  }

  // Returns when all that was queued before is done.
  void wait_for_queue(Prefaulter& prefaulter) {
    EXPECT_EQ(prefaulter.prefault({.ino = kIno}, 0), 0u);
  }

  const TemporaryDirectory directory_;
  const std::string path_ = directory_.path() + "/file";
  HostMemory memory_ = {.total_bytes = 100 * kMiB, .available_bytes = 50 * kMiB};
  std::counting_semaphore<> may_open_{1000};
  std::vector<std::string> opened_;  // by the prefaulter's thread
};

TEST_F(PrefaulterTest, ReturnsWhenAllOfItIsRead) {
  Prefaulter prefaulter(ports());
  EXPECT_EQ(prefaulter.prefault({.ino = kIno, .range = {0, kSize}}, 0), 0u);
  EXPECT_EQ(prefaulter.prefault({.ino = kIno, .range = {4095, 4097}}, 0), 0u);
}

TEST_F(PrefaulterTest, BehindTheEndThereIsNothingToRead) {
  Prefaulter prefaulter(ports());
  EXPECT_EQ(prefaulter.prefault({.ino = kIno, .range = {kSize - 1, kSize + 64 * kMiB}}, 0), 0u);
}

TEST_F(PrefaulterTest, OpensByInodeAndByPath) {
  {
    Prefaulter prefaulter(ports());
    EXPECT_EQ(prefaulter.prefault({.ino = kIno, .range = {0, 1}, .path = "/pmem0/a"}, 0), 0u);
  }
  EXPECT_EQ(opened_, std::vector<std::string>{"7/pmem0/a"});
}

TEST_F(PrefaulterTest, AnInodeThatIsGoneIsAnError) {
  Prefaulter prefaulter(ports());
  EXPECT_EQ(prefaulter.prefault({.ino = 8, .range = {0, 1}}, 0).err(), ESTALE);
  // And not what the next one is about.
  EXPECT_EQ(prefaulter.prefault({.ino = kIno, .range = {0, 1}}, 0), 0u);
}

TEST_F(PrefaulterTest, WhatCantBeReadIsCounted) {
  auto broken = ports();
  broken.open = [](uint64_t, const std::string&) {
    return UniqueFd(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));  // EISDIR
  };
  Prefaulter prefaulter(broken);
  EXPECT_EQ(prefaulter.prefault({.ino = kIno, .range = {4096, 3 * kMiB}}, 0), 3 * kMiB - 4096);
}

TEST_F(PrefaulterTest, LeavesTheHostWhatItIsToKeep) {
  Prefaulter prefaulter(ports());
  const auto read = prefaulter.prefault({.ino = kIno, .range = {0, kSize}}, 49 * kMiB);
  EXPECT_EQ(read.err(), ENOMEM);
  EXPECT_NE(read.error().hint.find("--keep-free"), std::string::npos);
  EXPECT_EQ(prefaulter.prefault({.ino = kIno, .range = {0, kMiB}}, 49 * kMiB), 0u);
}

TEST_F(PrefaulterTest, WithoutKnowingTheHostsMemoryNothingIsRead) {
  auto blind = ports();
  blind.memory = []() -> Result<HostMemory> { return fail(EIO, "no /proc"); };
  Prefaulter prefaulter(blind);
  EXPECT_EQ(prefaulter.prefault({.ino = kIno, .range = {0, 1}}, 0).err(), EIO);
  prefaulter.read_ahead_later({.ino = kIno, .range = {0, kMiB}});
  wait_for_queue(prefaulter);
  EXPECT_EQ(prefaulter.stats().hot_ranges, 0u);
}

TEST_F(PrefaulterTest, NobodyIsReadAheadForWhenMemoryIsShort) {
  memory_.available_bytes = Prefaulter::reserve_of(memory_) + kMiB;
  Prefaulter prefaulter(ports());
  prefaulter.read_ahead_later({.ino = kIno, .range = {0, 2 * kMiB}});
  prefaulter.read_ahead_later({.ino = kIno, .range = {0, kMiB}});
  wait_for_queue(prefaulter);
  EXPECT_EQ(prefaulter.stats().dropped, 1u);
  EXPECT_EQ(prefaulter.stats().hot_ranges, 1u);
}

TEST_F(PrefaulterTest, TheQueueOfHotRangesIsBounded) {
  Prefaulter prefaulter(ports());
  while (may_open_.try_acquire()) {
  }
  constexpr unsigned kMore = 10;
  // One may be in the thread's hands already.
  for (unsigned i = 0; i < Prefaulter::kMaxQueued + 1 + kMore; ++i) {
    prefaulter.read_ahead_later({.ino = kIno, .range = {0, kMiB}});
  }
  EXPECT_GE(prefaulter.stats().dropped, kMore);
  may_open_.release(1000);
  wait_for_queue(prefaulter);
  const auto stats = prefaulter.stats();
  EXPECT_EQ(stats.hot_ranges + stats.dropped, Prefaulter::kMaxQueued + 1 + kMore);
  EXPECT_GE(stats.hot_ranges, Prefaulter::kMaxQueued);
}

TEST_F(PrefaulterTest, TheEndDoesntWaitForWhatIsQueued) {
  auto prefaulter = std::make_unique<Prefaulter>(ports());
  while (may_open_.try_acquire()) {
  }
  auto waiting = std::async(std::launch::async, [&] {
    return prefaulter->prefault({.ino = kIno, .range = {0, kSize}}, 0);
  });
  for (unsigned i = 0; i < Prefaulter::kMaxQueued; ++i) {
    prefaulter->read_ahead_later({.ino = kIno, .range = {0, kMiB}});
  }
  may_open_.release(1000);
  const auto read = waiting.get();  // before or behind some of the others
  EXPECT_EQ(read, 0u);
  prefaulter.reset();
}

TEST_F(PrefaulterTest, OnlyItsThreadIsItsOwn) {
  Prefaulter prefaulter(ports());
  EXPECT_FALSE(prefaulter.is_own_thread(gettid()));
  EXPECT_FALSE(prefaulter.is_own_thread(-1));
}

}  // namespace
}  // namespace pmemd
