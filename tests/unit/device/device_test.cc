// Requests, handles and the way from live to disabled. Enabling: device_enable_test.cc.
#include "core/device/device.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <latch>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/device/device_pool.h"
#include "tests/unit/let_others_fall_asleep.h"

namespace pmemd {
namespace {

using State = Device::State;
constexpr std::chrono::seconds kLong{20};

class DeviceTest : public testing::Test {
 protected:
  std::array<Device*, 2> both() { return {&fsdax_, &devdax_}; }

  // 0, or the errno of each: an ordinary request, the kernel's writeback, an open.
  static std::array<int, 3> what_is_refused(Device& device) {
    const auto handle = device.handles().add({.ino = 1});
    if (handle) device.handles().remove(*handle);
    return {device.admit(Admission::kRequest).err(), device.admit(Admission::kWriteback).err(),
            handle.err()};
  }

  DevicePool pool_;
  Device& fsdax_ = pool_.fsdax();
  Device& devdax_ = pool_.devdax();
};

TEST_F(DeviceTest, KnowsItsModeItsRootAndItsErrno) {
  EXPECT_EQ(fsdax_.content().root_type(), mode_t{S_IFDIR});
  EXPECT_EQ(devdax_.content().root_type(), mode_t{S_IFREG});
  EXPECT_EQ(fsdax_.content().gone_errno(), EIO);
  EXPECT_EQ(devdax_.content().gone_errno(), ENXIO);
  EXPECT_EQ(inode_serial(fsdax_.root_ino()), fsdax_.record().serial);
  EXPECT_NE(fsdax_.root_ino(), devdax_.root_ino());
}

TEST_F(DeviceTest, AdmitsByState) {
  for (Device* device : both()) {
    const int gone = device->content().gone_errno();
    EXPECT_EQ(device->state(), State::kDisabled);
    EXPECT_EQ(what_is_refused(*device), (std::array{gone, gone, gone}));
    ASSERT_TRUE(device->enable());
    EXPECT_EQ(device->state(), State::kLive);
    EXPECT_EQ(what_is_refused(*device), (std::array{0, 0, 0}));
    ASSERT_TRUE(device->kill(false));
    EXPECT_EQ(device->state(), State::kDying);
    EXPECT_EQ(what_is_refused(*device), (std::array{gone, 0, gone})) << "writeback still";
    device->stop_writeback();
    EXPECT_EQ(device->state(), State::kDead);
    EXPECT_EQ(what_is_refused(*device), (std::array{gone, gone, gone}));
    ASSERT_TRUE(device->release(Clock::now()));
    EXPECT_EQ(device->state(), State::kDisabled);
    EXPECT_EQ(what_is_refused(*device), (std::array{gone, gone, gone}));
    EXPECT_EQ(device->requests_in_flight(), 0u) << "a refused one is none";
  }
}

TEST_F(DeviceTest, KillWantsALiveOne) {
  EXPECT_EQ(fsdax_.kill(false).err(), ENXIO);
  ASSERT_TRUE(fsdax_.enable());
  ASSERT_TRUE(fsdax_.kill(false));
  EXPECT_EQ(fsdax_.kill(false).err(), ENXIO);
  fsdax_.stop_writeback();
  EXPECT_EQ(fsdax_.kill(true).err(), ENXIO);
}

TEST_F(DeviceTest, KillOfABusyOneIsRefusedOnlyIfAskedTo) {
  ASSERT_TRUE(devdax_.enable());
  const uint64_t id = must(devdax_.handles().add({.ino = devdax_.root_ino()}));
  EXPECT_EQ(devdax_.kill(/*only_if_idle=*/true).err(), EBUSY);
  EXPECT_EQ(devdax_.state(), State::kLive);
  EXPECT_EQ(what_is_refused(devdax_), (std::array{0, 0, 0}));
  devdax_.handles().remove(id);
  EXPECT_TRUE(devdax_.kill(true));
  devdax_.resurrect();
  must(devdax_.handles().add({}));
  EXPECT_TRUE(devdax_.kill(false));
}

TEST_F(DeviceTest, ResurrectedIsAsLiveAsBefore) {
  ASSERT_TRUE(fsdax_.enable());
  ASSERT_TRUE(fsdax_.leases().lend(fsdax_.root_ino(), {0, 4096}));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(fsdax_.kill(false));
    fsdax_.resurrect();
    EXPECT_EQ(fsdax_.state(), State::kLive);
    EXPECT_EQ(what_is_refused(fsdax_), (std::array{0, 0, 0}));
    EXPECT_EQ(fsdax_.leases().totals().ranges, 1u);
    EXPECT_TRUE(fsdax_.leases().lend(fsdax_.root_ino(), {8192, 12288}));
    fsdax_.leases().give_back(fsdax_.root_ino(), {8192, 12288});
  }
}

TEST_F(DeviceTest, WaitRequestsTimesOutWhileOneIsHeldAndThenFinishes) {
  ASSERT_TRUE(fsdax_.enable());
  {
    const auto held = must(fsdax_.admit(Admission::kRequest));
    EXPECT_EQ(fsdax_.requests_in_flight(), 1u);
    ASSERT_TRUE(fsdax_.kill(false));
    EXPECT_EQ(fsdax_.wait_requests(Clock::now()).err(), ETIMEDOUT);
    EXPECT_EQ(&held.device(), &fsdax_);
    EXPECT_TRUE(held.fs().getattr(fsdax_.root_ino())) << "what was admitted goes on";
  }
  EXPECT_TRUE(fsdax_.wait_requests(Clock::now()));
}

TEST_F(DeviceTest, ReleaseWaitsForWritebackInFlightAndMayBeCalledAgain) {
  ASSERT_TRUE(devdax_.enable());
  ASSERT_TRUE(devdax_.kill(false));
  {
    const auto held = must(devdax_.admit(Admission::kWriteback));
    devdax_.stop_writeback();
    EXPECT_EQ(devdax_.release(Clock::now()).err(), ETIMEDOUT);
    EXPECT_EQ(devdax_.state(), State::kDead);
    std::array<std::byte, 8> bytes{};
    EXPECT_TRUE(held.media().write(0, bytes, Media::Writer::kProgram))
        << "its image is still there";
    EXPECT_EQ(devdax_.release(Clock::now()).err(), ETIMEDOUT);
  }
  EXPECT_TRUE(devdax_.release(Clock::now()));
  EXPECT_EQ(devdax_.state(), State::kDisabled);
}

TEST_F(DeviceTest, ReleaseWaitsForLeasesAndMayBeCalledAgain) {
  ASSERT_TRUE(devdax_.enable());
  ASSERT_TRUE(devdax_.leases().lend(devdax_.root_ino(), {0, 4096}));
  ASSERT_TRUE(devdax_.kill(false));
  devdax_.stop_writeback();
  EXPECT_EQ(devdax_.release(Clock::now()).err(), ETIMEDOUT);
  EXPECT_EQ(devdax_.state(), State::kDead);
  EXPECT_FALSE(must(pool_.pool().is_clean(devdax_.record().serial)));
  devdax_.leases().give_back_all();
  EXPECT_TRUE(devdax_.release(Clock::now()));
  EXPECT_TRUE(must(pool_.pool().is_clean(devdax_.record().serial)));
}

TEST_F(DeviceTest, RequestEndsBeforeWaitRequestsReturns) {
  ASSERT_TRUE(devdax_.enable());
  std::latch admitted(1);
  std::atomic<bool> over = false;
  std::jthread server([&] {
    const auto request = must(devdax_.admit(Admission::kRequest));
    admitted.count_down();
    let_others_fall_asleep();
    over = true;
  });
  admitted.wait();
  ASSERT_TRUE(devdax_.kill(false));
  ASSERT_TRUE(devdax_.wait_requests(deadline_after(kLong)));
  EXPECT_TRUE(over);
}

TEST_F(DeviceTest, HandlesHaveIdsOfTheirOwnThatAreNeverZeroNorReused) {
  ASSERT_TRUE(fsdax_.enable());
  const uint64_t a = must(fsdax_.handles().add({.ino = 1}));
  const uint64_t b = must(fsdax_.handles().add({.ino = 1}));
  EXPECT_NE(a, 0u);
  EXPECT_NE(a, b);
  EXPECT_EQ(fsdax_.claims().handle_count(), 2u);
  fsdax_.handles().remove(b);
  fsdax_.handles().remove(b);
  fsdax_.handles().remove(12345);
  EXPECT_EQ(fsdax_.claims().handle_count(), 1u);
  const uint64_t c = must(fsdax_.handles().add({.ino = 1}));
  EXPECT_NE(c, b);
  EXPECT_NE(c, a);
}

TEST_F(DeviceTest, WriterIsOneWhoOpenedThatInodeForWriting) {
  ASSERT_TRUE(fsdax_.enable());
  must(fsdax_.handles().add({.ino = 1}));
  const uint64_t writer = must(fsdax_.handles().add({.ino = 2, .writable = true}));
  EXPECT_FALSE(fsdax_.claims().has_writer(1));
  EXPECT_TRUE(fsdax_.claims().has_writer(2));
  EXPECT_FALSE(fsdax_.claims().has_writer(3));
  fsdax_.handles().remove(writer);
  EXPECT_FALSE(fsdax_.claims().has_writer(2));
}

TEST_F(DeviceTest, WaitingForHandlesEndsWithTheLastOrTheDeadline) {
  EXPECT_TRUE(fsdax_.claims().wait_handles_closed(Clock::now()));
  ASSERT_TRUE(fsdax_.enable());
  const uint64_t a = must(fsdax_.handles().add({.ino = 1}));
  const uint64_t b = must(fsdax_.handles().add({.ino = 1}));
  EXPECT_FALSE(fsdax_.claims().wait_handles_closed(Clock::now()));
  std::jthread closer([&] {
    let_others_fall_asleep();
    fsdax_.handles().remove(a);
    fsdax_.handles().remove(b);
  });
  const Deadline deadline = deadline_after(kLong);
  EXPECT_TRUE(fsdax_.claims().wait_handles_closed(deadline));
  EXPECT_LT(Clock::now(), deadline) << "woken";
  EXPECT_EQ(fsdax_.claims().handle_count(), 0u);
}

TEST_F(DeviceTest, InterruptedWaitEndsAtOnceForGood) {
  ASSERT_TRUE(fsdax_.enable());
  must(fsdax_.handles().add({.ino = 1}));
  std::jthread interrupter([&] {
    let_others_fall_asleep();
    fsdax_.handles().interrupt_waits();
  });
  const Deadline deadline = deadline_after(kLong);
  EXPECT_FALSE(fsdax_.claims().wait_handles_closed(deadline));
  EXPECT_FALSE(fsdax_.claims().wait_handles_closed(deadline));
  EXPECT_LT(Clock::now(), deadline) << "woken";
}

TEST_F(DeviceTest, HandlesOutliveARemovalAndCountAfterIt) {
  ASSERT_TRUE(fsdax_.enable());
  const uint64_t id = must(fsdax_.handles().add({.ino = 1, .writable = true}));
  take_down(fsdax_);
  EXPECT_EQ(fsdax_.claims().handle_count(), 1u);
  ASSERT_TRUE(fsdax_.enable());
  EXPECT_TRUE(fsdax_.claims().has_writer(1));
  EXPECT_EQ(fsdax_.kill(true).err(), EBUSY);
  fsdax_.handles().remove(id);
  EXPECT_TRUE(fsdax_.kill(true));
}

TEST_F(DeviceTest, ForgettingTheLastLookupGivesTheLeasesBack) {
  ASSERT_TRUE(devdax_.enable());
  const uint64_t ino = devdax_.root_ino();
  devdax_.lookups().count(ino);
  devdax_.lookups().count(ino);
  ASSERT_TRUE(devdax_.leases().lend(ino, {0, 4096}));
  devdax_.lookups().forget(ino, 1);
  EXPECT_EQ(devdax_.leases().totals().ranges, 1u);
  EXPECT_TRUE(devdax_.lookups().counts().is_known(ino));
  devdax_.lookups().forget(ino, 1);
  EXPECT_EQ(devdax_.leases().totals().ranges, 0u);
  EXPECT_FALSE(devdax_.lookups().counts().is_known(ino));
}

TEST_F(DeviceTest, ForgettingWhileDyingGivesTheLeasesBackToo) {
  ASSERT_TRUE(fsdax_.enable());
  const uint64_t ino = fsdax_.root_ino();
  fsdax_.lookups().count(ino);
  ASSERT_TRUE(fsdax_.leases().lend(ino, {0, 4096}));
  ASSERT_TRUE(fsdax_.kill(false));
  fsdax_.lookups().forget(ino, 1);
  fsdax_.stop_writeback();
  EXPECT_TRUE(fsdax_.release(Clock::now()));
}

// Requests of both kinds run into kill, revocation and release, over and over. What the states
// promise is checked from both sides; the sanitizers watch the image and the file system go.
TEST_F(DeviceTest, RequestsRaceWithRemovalAndEnable) {
  std::atomic<bool> stop = false;
  std::atomic<int> ordinary = 0;
  std::atomic<int> writebacks = 0;
  const auto serve = [&](Device& device, bool writeback) {
    std::atomic<int>& inside = writeback ? writebacks : ordinary;
    while (!stop) {
      auto request =
          writeback ? device.admit(Admission::kWriteback) : device.admit(Admission::kRequest);
      if (!request) {
        EXPECT_EQ(request.err(), device.content().gone_errno());
        continue;
      }
      ++inside;
      EXPECT_TRUE(request->fs().getattr(device.root_ino()));
      std::array<std::byte, 64> bytes{};
      EXPECT_TRUE(request->media().write(0, bytes, Media::Writer::kProgram));
      --inside;
    }
  };
  std::vector<std::jthread> threads;
  for (const bool writeback : {false, true, false}) {
    threads.emplace_back(serve, std::ref(fsdax_), writeback);
  }
  for (int round = 0; round < 30; ++round) {
    ASSERT_TRUE(fsdax_.enable());
    ASSERT_TRUE(fsdax_.kill(false));
    ASSERT_TRUE(fsdax_.wait_requests(deadline_after(kLong)));
    EXPECT_EQ(ordinary, 0) << "admitted before the kill, still there after the wait";
    fsdax_.stop_writeback();
    ASSERT_TRUE(fsdax_.wait_requests(deadline_after(kLong)));
    EXPECT_EQ(writebacks, 0);
    ASSERT_TRUE(fsdax_.release(deadline_after(kLong)));
  }
  stop = true;
}

TEST_F(DeviceTest, OpensRaceWithAKillThatWantsItIdle) {
  ASSERT_TRUE(devdax_.enable());
  std::atomic<bool> stop = false;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      while (!stop) {
        if (const auto id = devdax_.handles().add({.ino = 1})) devdax_.handles().remove(*id);
      }
    });
  }
  for (int killed = 0; killed < 200;) {
    if (!devdax_.kill(/*only_if_idle=*/true)) continue;
    ++killed;
    EXPECT_EQ(devdax_.claims().handle_count(), 0u) << "idle and dying are one decision";
    devdax_.resurrect();
  }
  stop = true;
}

TEST(DeviceDeathTest, DestroyedWhileEnabledIsABug) {
  DevicePool pool;
  ASSERT_TRUE(pool.devdax().enable());
  const auto record = pool.devdax().record().of_namespace();
  take_down(pool.devdax());
  EXPECT_DEATH(
      {
        auto device = pool.make_device(record);
        if (device->enable()) device.reset();
      },
      "kDisabled");
}

}  // namespace
}  // namespace pmemd
