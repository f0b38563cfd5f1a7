// Two live devices, a bus and a fake kernel.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/removal/removal.h"
#include "tests/unit/device/device_pool.h"
#include "tests/unit/removal/fake_kernel.h"

namespace pmemd {

class RemovalFixture : public testing::Test {
 protected:
  using State = Device::State;

  RemovalFixture() {
    must(fsdax_.enable());
    must(devdax_.enable());
  }

  RemovalOutcome remove(const std::vector<Device*>& devices, const RemovalOptions& options) {
    return remove_devices(devices, options, kernel_, events_);
  }
  // By force, with hardly any time to drain.
  static RemovalOptions forced() {
    RemovalOptions options;
    options.force = true;
    options.drain_timeout = std::chrono::milliseconds(1);
    return options;
  }

  static uint64_t ino(const Device& device, uint64_t index) {
    return make_inode_number(device.record().serial, index);
  }
  static void lend(Device& device, uint64_t index, FileRange range) {
    ASSERT_TRUE(device.leases().lend(ino(device, index), range));
  }
  static Mapping mapping(uint64_t of_ino, const std::string& path, FileRange range = {0, 4096}) {
    Mapping mapping;
    mapping.ino = of_ino;
    mapping.path = path;
    mapping.range = range;
    return mapping;
  }
  // Of no process that there is: above the largest pid.
  static Holder holder(std::vector<Mapping> mappings, std::vector<OpenFile> open_files = {}) {
    Holder holder;
    holder.pid = 1 << 23;
    holder.comm = "nobody";
    holder.mappings = std::move(mappings);
    holder.open_files = std::move(open_files);
    return holder;
  }
  static void expect_live(Device& device) {
    EXPECT_EQ(device.state(), State::kLive);
    EXPECT_TRUE(device.admit(Admission::kRequest));
    EXPECT_TRUE(device.leases().lend(ino(device, 999), {0, 1}));
    device.leases().give_back(ino(device, 999), {0, 1});
  }

  DevicePool pool_;
  EventBus events_;
  FakeKernel kernel_{events_};
  Device& fsdax_ = pool_.fsdax();    // namespace0.0, serial 1
  Device& devdax_ = pool_.devdax();  // namespace1.0, serial 2
};

}  // namespace pmemd
