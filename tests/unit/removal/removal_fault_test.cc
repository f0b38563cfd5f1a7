// A failure at every step of enabling and removing: the device is as before or gone, never half; no
// reference is left, and the next enable works.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "core/base/fault.h"
#include "core/pool/check.h"
#include "core/pool/pool.h"
#include "core/removal/removal.h"
#include "tests/unit/let_others_fall_asleep.h"
#include "tests/unit/removal/removal_fixture.h"

namespace pmemd {
namespace {

std::vector<std::string> points_of(const std::vector<std::string>& operations) {
  std::vector<std::string> names;
  for (const auto& info : FaultPoint::list()) {
    const std::string name(info.name);
    if (std::ranges::find(operations, name.substr(0, name.find('.'))) != operations.end()) {
      names.push_back(name);
    }
  }
  return names;
}

class RemovalFaultTest : public RemovalFixture {
 protected:
  ~RemovalFaultTest() override { FaultPoint::disarm_all(); }

  // Was the point on the way? Then it has been disarmed by its hit.
  static bool was_hit(const std::string& name) {
    return std::ranges::none_of(
        FaultPoint::list(), [&](const auto& info) { return info.name == name && info.left != 0; });
  }
  void expect_whole(Device& device) {
    EXPECT_EQ(device.references().unaccounted(), 0u);
    EXPECT_EQ(device.requests_in_flight(), 0u);
    if (device.state() == State::kLive) return expect_live(device);
    EXPECT_EQ(device.state(), State::kDisabled);
    EXPECT_EQ(device.leases().totals().ranges, 0u);
    const auto region = must(pool_.pool().region(device.record().of_namespace().region));
    const Pfn pfn{(region.base_address + device.record().of_namespace().range.begin) / kPageSize};
    EXPECT_FALSE(pool_.registry().get_dev_pagemap(pfn)) << "its range is free";
  }
  void enable_both() {
    for (Device* device : {&fsdax_, &devdax_}) {
      if (device->state() != State::kLive) must(device->enable());
    }
  }
  void open_and_lend() {
    for (Device* device : {&fsdax_, &devdax_}) {
      must(device->handles().add({.ino = ino(*device, 1), .writable = true}));
      lend(*device, 1, {0, 4096});
      lend(*device, 5, {0, 8192});
    }
  }
};

TEST_F(RemovalFaultTest, EveryStepOfARemovalForcedAndSurprise) {
  auto points = points_of({"disable", "revoke", "release"});
  EXPECT_GE(points.size(), 12u);
  for (const bool surprise : {false, true}) {
    for (const std::string& point : points) {
      SCOPED_TRACE(point + (surprise ? " (surprise)" : ""));
      enable_both();
      open_and_lend();
      must(FaultPoint::arm(point, {}));
      auto options = forced();
      options.surprise = surprise;
      const auto outcome = remove({&fsdax_, &devdax_}, options);
      EXPECT_FALSE(outcome.result);
      EXPECT_TRUE(was_hit(point));
      if (point == "release.leak") {
        EXPECT_EQ(outcome.result.err(), ETIMEDOUT);
        options.abandon = true;
        EXPECT_TRUE(remove({&fsdax_, &devdax_}, options).result);
      } else {
        EXPECT_EQ(outcome.result.err(), EIO);
        EXPECT_NE(outcome.result.error().message.find(point), std::string::npos)
            << outcome.result.error().message;
      }
      expect_whole(fsdax_);
      expect_whole(devdax_);
      enable_both();
      const auto again = remove({&fsdax_, &devdax_}, forced());
      EXPECT_TRUE(again.result) << again.result.error().describe();
    }
  }
}

TEST_F(RemovalFaultTest, EveryStepOfAPlainRemovalOfAnIdleOne) {
  for (const std::string& point : points_of({"disable", "revoke", "release"})) {
    if (point == "revoke.inval" || point == "release.leak") continue;  // nothing is lent; above
    SCOPED_TRACE(point);
    enable_both();
    must(FaultPoint::arm(point, {}));
    EXPECT_EQ(remove({&fsdax_}, {}).result.err(), EIO);
    EXPECT_TRUE(was_hit(point));
    expect_whole(fsdax_);
    enable_both();
    EXPECT_TRUE(remove({&fsdax_}, {}).result);
  }
}

TEST_F(RemovalFaultTest, EveryStepOfEnabling) {
  for (const std::string& point : points_of({"enable"})) {
    SCOPED_TRACE(point);
    take_down(fsdax_);
    must(FaultPoint::arm(point, {}));
    EXPECT_EQ(fsdax_.enable().err(), EIO);
    EXPECT_TRUE(was_hit(point));
    EXPECT_EQ(fsdax_.state(), State::kDisabled);
    expect_whole(fsdax_);
    ASSERT_TRUE(fsdax_.enable());
    expect_live(fsdax_);
  }
}

TEST_F(RemovalFaultTest, EveryStepOfMakingANamespaceLeavesItsPlaceFree) {
  take_down(devdax_);
  must(pool_.pool().destroy_namespace(devdax_.record().of_namespace()));
  for (const std::string& point : points_of({"create"})) {
    SCOPED_TRACE(point);
    must(FaultPoint::arm(point, {}));
    EXPECT_EQ(pool_.pool().create_namespace({.region = 1}).err(), EIO);
    EXPECT_TRUE(was_hit(point));
    EXPECT_TRUE(must(check_regions(*must(PoolView::open(pool_.pool())))).empty());
    const auto record = must(pool_.pool().create_namespace({.region = 1}));
    EXPECT_EQ(record.range.length(), DevicePool::kSize) << "all of the region";
    must(pool_.pool().destroy_namespace(record));
  }
}

TEST_F(RemovalFaultTest, EveryStepOfDestroyingIsAllOrNothingAndTheSpaceComesBack) {
  take_down(devdax_);
  must(pool_.pool().destroy_namespace(devdax_.record().of_namespace()));
  for (const std::string& point : points_of({"destroy"})) {
    SCOPED_TRACE(point);
    const auto record = must(pool_.pool().create_namespace({.region = 1}));
    must(FaultPoint::arm(point, {}));
    EXPECT_EQ(pool_.pool().destroy_namespace(record).err(), EIO);
    EXPECT_TRUE(was_hit(point));
    const bool listed = pool_.pool().find_namespace(record.name()).has_value();
    EXPECT_EQ(listed, point == "destroy.mark");
    if (listed) must(pool_.pool().destroy_namespace(record));
    // The next one gets all of the region: what was half erased has been erased.
    const auto next = must(pool_.pool().create_namespace({.region = 1}));
    EXPECT_EQ(next.range.length(), DevicePool::kSize);
    must(pool_.pool().destroy_namespace(next));
    EXPECT_TRUE(must(check_regions(*must(PoolView::open(pool_.pool())))).empty());
  }
}

// A stall is no failure: the removal goes on when it ends.
TEST_F(RemovalFaultTest, RemovalThatStallsEndsWhenThePointsAreDisarmed) {
  must(FaultPoint::arm("disable.revoke", {.delay = std::chrono::minutes(9)}));
  std::jthread helper([&] {
    while (kernel_.calls("pre-remove") == 0) std::this_thread::yield();
    let_others_fall_asleep();
    FaultPoint::disarm_all();
  });
  EXPECT_TRUE(remove({&devdax_}, forced()).result);
}

}  // namespace
}  // namespace pmemd
