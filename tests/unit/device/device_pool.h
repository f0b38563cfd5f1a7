// A pool of a test's own with one fsdax and one devdax namespace, and the devices on them.
//
// namespace0.0 (fsdax) is the whole of region0, namespace1.0 (devdax) of region1. What a test
// leaves enabled is taken down at the end.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/base/units.h"
#include "core/device/device.h"
#include "core/pool/info_block.h"
#include "tests/unit/must.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd {

// Takes a device down from whatever state it is in; nothing may be in flight.
inline void take_down(Device& device) {
  if (device.state() == Device::State::kLive) must(device.kill(false));
  if (device.state() == Device::State::kDying) device.stop_writeback();
  device.claims().remove_pins();
  device.leases().give_back_all();
  if (device.state() == Device::State::kDead) must(device.release(Clock::now()));
}

class DevicePool {
 public:
  static constexpr uint64_t kSize = 16 * kMiB;

  DevicePool() {
    pool_ = must(Pool::create(path(), kSize, Reservation::kSparse));
    const auto first = must(pool_->find_namespace("namespace0.0"));
    const auto region = must(pool_->create_region(kSize, Reservation::kSparse));
    const auto second = must(pool_->create_namespace(
        {.region = region.id, .mode = NamespaceMode::kDevDax, .size_bytes = std::nullopt}));
    fsdax_ = make_device(first);
    devdax_ = make_device(second);
  }
  ~DevicePool() {
    for (auto* device : {fsdax_.get(), devdax_.get()}) {
      if (device != nullptr) take_down(*device);
    }
  }

  std::unique_ptr<Device> make_device(const NamespaceRecord& record) {
    return std::make_unique<Device>(*pool_, registry_, must(pool_->region(record.region)), record);
  }

  // Overwrites what identifies the namespace; again: puts it back.
  void swap_info_block(const Device& device) const {
    const auto& record = device.record().of_namespace();
    const auto image = path() + "/region" + std::to_string(record.region) + ".img";
    const UniqueFd fd(::open(image.c_str(), O_RDWR | O_CLOEXEC));
    std::string block(kInfoBlockSize, '\0');
    const auto offset = static_cast<off_t>(record.range.begin + kInfoBlockOffset);
    ASSERT_EQ(::pread(fd.get(), block.data(), block.size(), offset), ssize_t{kInfoBlockSize});
    for (char& c : block) c = static_cast<char>(~c);
    ASSERT_EQ(::pwrite(fd.get(), block.data(), block.size(), offset), ssize_t{kInfoBlockSize});
  }

  void sql(const std::string& text) const {
    MutexLock lock(pool_->database().mutex());
    must(pool_->database().execute(text));
  }

  std::string path() const { return directory_.path() + "/pool"; }
  Pool& pool() { return *pool_; }
  PagemapRegistry& registry() { return registry_; }
  Device& fsdax() { return *fsdax_; }
  Device& devdax() { return *devdax_; }

 private:
  TemporaryDirectory directory_{TemporaryDirectory::Place::kInMemory};
  std::unique_ptr<Pool> pool_;
  PagemapRegistry registry_;
  std::unique_ptr<Device> fsdax_;
  std::unique_ptr<Device> devdax_;
};

}  // namespace pmemd
