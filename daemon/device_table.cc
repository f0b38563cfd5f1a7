#include "daemon/device_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace pmemd {

Result<void> DeviceTable::load() {
  for (const NamespaceRecord& record : pool_.namespaces()) PMEMD_TRY(add(record));
  return {};
}

Result<DevicePtr> DeviceTable::add(const NamespaceRecord& record) {
  PMEMD_ASSIGN(const RegionRecord region, pool_.region(record.region));
  auto device = std::make_shared<Device>(pool_, registry_, region, record);
  device->set_media_hooks(media_hooks_);
  MutexLock lock(mutex_);
  by_serial_[record.serial] = device;
  return device;
}

void DeviceTable::remove(const DevicePtr& device) {
  {
    MutexLock lock(mutex_);
    destroyed_.insert(device->record().serial);
  }
  forget_destroyed();
}

void DeviceTable::forget_destroyed() {
  MutexLock lock(mutex_);
  std::erase_if(destroyed_, [&](uint64_t serial) PMEMD_REQUIRES(mutex_) {
    if (by_serial_.at(serial)->lookups().size() != 0) return false;
    by_serial_.erase(serial);
    return true;
  });
}

DevicePtr DeviceTable::by_ino(uint64_t ino) const {
  MutexLock lock(mutex_);
  const auto it = by_serial_.find(inode_serial(ino));
  return it == by_serial_.end() ? nullptr : it->second;
}

DevicePtr DeviceTable::by_shown_name(std::string_view name) const {
  MutexLock lock(mutex_);
  for (const auto& [serial, device] : by_serial_) {
    if (device->state() == Device::State::kLive && device->record().device_name() == name) {
      return device;
    }
  }
  return nullptr;
}

Result<DevicePtr> DeviceTable::find(std::string_view name) const {
  for (auto& device : all()) {
    if (device->record().name() == name) return device;
  }
  return fail(ENOENT, fmt::format("{}: no such namespace", name),
              "see pmemctl list --namespaces --idle");
}

std::vector<DevicePtr> DeviceTable::by_serial() const {
  std::vector<DevicePtr> devices;
  MutexLock lock(mutex_);
  for (const auto& [serial, device] : by_serial_) {
    if (!destroyed_.contains(serial)) devices.push_back(device);
  }
  return devices;
}

std::vector<DevicePtr> DeviceTable::all() const {
  auto devices = by_serial();
  std::ranges::sort(devices, {}, [](const DevicePtr& device) {
    return std::tuple(device->record().region, device->record().id);
  });
  return devices;
}

std::vector<DevicePtr> DeviceTable::of_region(uint32_t region) const {
  auto devices = all();
  std::erase_if(devices, [&](const DevicePtr& d) { return d->record().region != region; });
  return devices;
}

Result<DeviceTable::Operation> DeviceTable::begin_operation(const std::vector<DevicePtr>& devices) {
  MutexLock lock(mutex_);
  if (stopping_) return fail(ECANCELED, "the daemon is stopping");
  std::vector<uint64_t> serials;
  for (const DevicePtr& device : devices) {
    const uint64_t serial = device->record().serial;
    if (in_operation_.contains(serial)) {
      return fail(EBUSY, fmt::format("{}: another operation is under way", device->record().name()),
                  "wait for it to end: pmemctl monitor tells");
    }
    if (destroyed_.contains(serial)) {
      return fail(ENOENT, fmt::format("{}: destroyed", device->record().name()));
    }
    serials.push_back(serial);
  }
  in_operation_.insert(serials.begin(), serials.end());
  return Operation(this, std::move(serials));
}

DeviceTable::Operation::~Operation() {
  if (table_ == nullptr) return;
  MutexLock lock(table_->mutex_);
  for (const uint64_t serial : serials_) table_->in_operation_.erase(serial);
  table_->operation_done_cv_.notify_all();
}

bool DeviceTable::interrupt_operations(Deadline deadline) {
  MutexLock lock(mutex_);
  stopping_ = true;
  for (const auto& [serial, device] : by_serial_) device->interrupt_waits();
  while (!in_operation_.empty()) {
    if (!operation_done_cv_.wait_until(mutex_, deadline)) return in_operation_.empty();
  }
  return true;
}

}  // namespace pmemd
