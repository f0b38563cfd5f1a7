// A pool of a test's own with fsdax namespaces, each a region of its own, and volumes over them.
//
// What a test leaves enabled is taken down at the end, volumes before their legs.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/device/device.h"
#include "tests/unit/device/device_pool.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd {

using DevicePtr = std::shared_ptr<Device>;

class VolumePool {
 public:
  static constexpr uint64_t kSpaceBytes = 8 * kMiB;
  static constexpr uint64_t kLegBytes = kSpaceBytes - kNamespaceMetadataSize;

  explicit VolumePool(int spaces) {
    pool_ = must(Pool::create(directory_.path() + "/pool", kSpaceBytes, Reservation::kSparse));
    {
      MutexLock lock(pool_->database().mutex());  // durability isn't what these tests are about
      must(pool_->database().execute("PRAGMA synchronous = OFF"));
    }
    for (int i = 1; i < spaces; ++i) {
      const auto region = must(pool_->create_region(kSpaceBytes, Reservation::kSparse));
      must(pool_->create_namespace({.region = region.id}));
    }
    for (const NamespaceRecord& record : pool_->namespaces()) {
      devices_.push_back(
          std::make_shared<Device>(*pool_, registry_, must(pool_->region(record.region)), record));
    }
  }
  ~VolumePool() {
    for (auto device = devices_.rbegin(); device != devices_.rend(); ++device) {
      take_down(**device);
    }
  }

  Pool& pool() { return *pool_; }
  PagemapRegistry& registry() { return registry_; }
  const DevicePtr& space(size_t i) const { return devices_.at(i); }
  std::vector<DevicePtr> spaces(size_t first, size_t end) const {
    return {devices_.begin() + static_cast<ptrdiff_t>(first),
            devices_.begin() + static_cast<ptrdiff_t>(end)};
  }

  // Not enabled.
  DevicePtr make(VolumeType type, uint64_t chunk, const std::vector<DevicePtr>& legs) {
    std::vector<uint64_t> serials;
    serials.reserve(legs.size());
    for (const DevicePtr& leg : legs) serials.push_back(leg->record().serial);
    const auto record = must(pool_->create_volume(type, chunk, serials));
    devices_.push_back(std::make_shared<Device>(*pool_, registry_, record, legs));
    return devices_.back();
  }
  // Of a disabled one whose legs are disabled.
  void destroy(const DevicePtr& volume) {
    must(pool_->destroy_volume(volume->record().of_volume()));
    volume->memory().free_legs();
    std::erase(devices_, volume);
  }
  // All of them, in the order in which they were made: legs first.
  void enable_all() {
    for (const DevicePtr& device : devices_) {
      if (device->state() == Device::State::kDisabled) must(device->enable());
    }
  }

 private:
  TemporaryDirectory directory_{TemporaryDirectory::Place::kInMemory};
  std::unique_ptr<Pool> pool_;
  PagemapRegistry registry_;
  std::vector<DevicePtr> devices_;  // legs before volumes
};

// --- what programs do with a device's files; each is one request

inline uint64_t make_file(Device& device, std::string_view name) {
  const auto request = must(device.admit(Admission::kRequest));
  const auto attr =
      must(request.fs().mknod(request.fs().root(), name, S_IFREG | 0644, 0, {.umask = 022}));
  device.lookups().count(attr.ino);
  return attr.ino;
}
inline Result<void> write_to(Device& device, uint64_t ino, uint64_t offset, std::string_view data,
                             Media::Writer writer = Media::Writer::kProgram) {
  PMEMD_ASSIGN(const auto request, writer == Media::Writer::kProgram
                                       ? device.admit(Admission::kRequest)
                                       : device.admit(Admission::kWriteback));
  return request.fs().write(ino, offset, std::as_bytes(std::span(data)), writer);
}
inline Result<std::string> read_from(Device& device, uint64_t ino, FileRange range) {
  PMEMD_ASSIGN(const auto request, device.admit(Admission::kRequest));
  PMEMD_ASSIGN(const auto parts, request.fs().read(ino, range, Media::Reader::kProgram));
  std::string bytes;
  for (const iovec& part : parts) {
    bytes.append(static_cast<const char*>(part.iov_base), part.iov_len);
  }
  return bytes;
}
inline Result<void> allocate(Device& device, uint64_t ino, FileRange range) {
  PMEMD_ASSIGN(const auto request, device.admit(Admission::kRequest));
  return request.fs().fallocate(ino, 0, range.begin, range.length());
}

}  // namespace pmemd
