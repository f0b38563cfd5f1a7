#include "core/failure/dax_device.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <latch>
#include <limits>
#include <thread>
#include <vector>

#include "tests/unit/let_others_fall_asleep.h"

namespace pmemd {
namespace {

constexpr uint64_t kSize = 1 << 20;
constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

// Says what it is told to, and remembers what it was asked.
class FakeHolder final : public DaxHolder {
 public:
  Result<void> notify_failure(const DataRanges& ranges, unsigned mf_flags,
                              FailedParts& parts) override {
    asked.push_back(ranges);
    flags = mf_flags;
    parts.push_back({.ino = 7, .file = {}, .data = ranges.front()});
    return err == 0 ? Result<void>() : fail(err);
  }

  int err = 0;
  unsigned flags = 0;
  std::vector<DataRanges> asked;  // a list for each call
};

class DaxDeviceTest : public testing::Test {
 protected:
  int notify(const DataRanges& ranges) {
    return device_.notify_failure(ranges, kMfActionRequired, parts_).err();
  }

  DaxDevice device_{kSize};
  FakeHolder holder_;
  FailedParts parts_;
};

TEST_F(DaxDeviceTest, NotAliveIsENXIOWhoeverHoldsIt) {
  EXPECT_EQ(notify({{0, 4096}}), ENXIO) << "it was never alive";
  ASSERT_TRUE(device_.set_holder(holder_));
  EXPECT_EQ(notify({{0, 4096}}), ENXIO);
  device_.set_alive(true);
  EXPECT_EQ(notify({{0, 4096}}), 0);
  device_.set_alive(false);
  EXPECT_EQ(notify({{0, 4096}}), ENXIO);
  EXPECT_EQ(holder_.asked.size(), 1u);
}

TEST_F(DaxDeviceTest, WithoutAHolderItIsEOPNOTSUPP) {
  device_.set_alive(true);
  EXPECT_FALSE(device_.has_holder());
  EXPECT_EQ(notify({{0, 4096}}), EOPNOTSUPP);
  ASSERT_TRUE(device_.set_holder(holder_));
  EXPECT_TRUE(device_.has_holder());
  EXPECT_EQ(notify({{0, 4096}}), 0);
  device_.drop_holder();
  EXPECT_FALSE(device_.has_holder());
  EXPECT_EQ(notify({{0, 4096}}), EOPNOTSUPP);
}

TEST_F(DaxDeviceTest, WhatTheHolderSaysIsTheAnswer) {
  device_.set_alive(true);
  ASSERT_TRUE(device_.set_holder(holder_));
  for (const int err : {EOPNOTSUPP, EIO, EUCLEAN, 0}) {
    holder_.err = err;
    EXPECT_EQ(notify({{0, 4096}}), err);
  }
  EXPECT_EQ(holder_.flags, kMfActionRequired);
}

TEST_F(DaxDeviceTest, RangesAreClippedToTheDevice) {
  struct Case {
    DataRange range;
    int err;
    DataRange asked;
  };
  const std::array cases = {
      Case{DaxDevice::kWholeDevice, 0, {0, kSize}},
      Case{{0, kSize}, 0, {0, kSize}},
      Case{{0, 1}, 0, {0, 1}},
      Case{{4096, 12288}, 0, {4096, 12288}},
      Case{{kSize - 1, kSize}, 0, {kSize - 1, kSize}},
      Case{{kSize - 4096, kSize + 1}, 0, {kSize - 4096, kSize}},
      Case{{4096, kMax}, 0, {4096, kSize}},
      Case{{kSize, kSize + 1}, ENXIO, {}},
      Case{{kSize, kMax}, ENXIO, {}},
      Case{{kMax, kMax}, ENXIO, {}},
      Case{{0, 0}, ENXIO, {}},
      Case{{4096, 0}, ENXIO, {}},
  };
  device_.set_alive(true);
  ASSERT_TRUE(device_.set_holder(holder_));
  for (const Case& c : cases) {
    SCOPED_TRACE(testing::Message() << c.range.begin << "-" << c.range.end);
    holder_.asked.clear();
    EXPECT_EQ(notify({c.range}), c.err);
    EXPECT_EQ(holder_.asked,
              c.err == 0 ? std::vector<DataRanges>{{c.asked}} : std::vector<DataRanges>());
    // Among others, the same.
    holder_.asked.clear();
    EXPECT_EQ(notify({{0, 512}, c.range}), c.err);
    EXPECT_EQ(holder_.asked, c.err == 0 ? (std::vector<DataRanges>{{{0, 512}, c.asked}})
                                        : std::vector<DataRanges>());
  }
}

TEST_F(DaxDeviceTest, HasOneHolder) {
  FakeHolder other;
  ASSERT_TRUE(device_.set_holder(holder_));
  EXPECT_EQ(device_.set_holder(other).err(), EBUSY);
  EXPECT_TRUE(device_.set_holder(holder_)) << "it is the same";
  device_.drop_holder();
  EXPECT_TRUE(device_.set_holder(other));
}

// Is in a call until it is let out.
class SlowHolder final : public DaxHolder {
 public:
  Result<void> notify_failure(const DataRanges& /*ranges*/, unsigned /*mf_flags*/,
                              FailedParts& /*parts*/) override {
    inside.count_down();
    go_on.wait();
    is_inside = false;
    return {};
  }

  std::latch inside{1}, go_on{1};
  std::atomic<bool> is_inside = true;
};

// Whoever drops the holder frees it next.
TEST_F(DaxDeviceTest, DropOfTheHolderDuringACallWaitsForItsEnd) {
  SlowHolder slow;
  device_.set_alive(true);
  ASSERT_TRUE(device_.set_holder(slow));
  std::jthread caller([&] { EXPECT_EQ(notify({{0, 4096}}), 0); });
  slow.inside.wait();
  std::jthread dropper([&] {
    device_.drop_holder();
    EXPECT_FALSE(slow.is_inside);
  });
  while (device_.has_holder()) std::this_thread::yield();
  FailedParts parts;
  EXPECT_EQ(device_.notify_failure({{0, 1}}, 0, parts).err(), EOPNOTSUPP) << "no new call";
  slow.go_on.count_down();
}

// kill_dax() does: the device's memory goes next.
TEST_F(DaxDeviceTest, NoCallIsUnderWayOnceItIsNotAlive) {
  SlowHolder slow;
  device_.set_alive(true);
  ASSERT_TRUE(device_.set_holder(slow));
  std::jthread caller([&] { EXPECT_EQ(notify({{0, 4096}}), 0); });
  slow.inside.wait();
  std::jthread killer([&] {
    device_.set_alive(false);
    EXPECT_FALSE(slow.is_inside);
  });
  let_others_fall_asleep();
  slow.go_on.count_down();
}

TEST_F(DaxDeviceTest, CallsRaceWithDropsOfTheHolder) {
  class Guarded final : public DaxHolder {
   public:
    Result<void> notify_failure(const DataRanges&, unsigned, FailedParts&) override {
      EXPECT_TRUE(is_set);
      return {};
    }
    std::atomic<bool> is_set = true;
  };
  device_.set_alive(true);
  std::atomic<bool> stop = false;
  {
    std::vector<std::jthread> callers;
    callers.reserve(2);
    for (int i = 0; i < 2; ++i) {
      callers.emplace_back([&] {
        FailedParts parts;
        while (!stop) {
          (void)device_.notify_failure({{0, 4096}}, 0, parts);
          std::this_thread::yield();
        }
      });
    }
    for (int round = 0; round < 50; ++round) {
      Guarded holder;
      ASSERT_TRUE(device_.set_holder(holder));
      std::this_thread::yield();
      device_.drop_holder();
      holder.is_set = false;
    }
    stop = true;
  }
}

}  // namespace
}  // namespace pmemd
