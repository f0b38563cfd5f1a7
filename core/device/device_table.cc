#include "core/device/device_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/base/memory.h"

namespace pmemd {

namespace {

constexpr const char* kListHint = "see pmemctl list --namespaces --volumes --idle";

template <class Ptr>
void sort_by_name(std::vector<Ptr>& devices) {
  std::ranges::sort(devices, {}, [](const Ptr& device) { return device->record().order(); });
}

// nullopt: keeps the volumes.
template <class Ptr>
void keep_region(std::vector<Ptr>& devices, std::optional<uint32_t> region) {
  std::erase_if(devices, [&](const Ptr& device) { return device->record().region() != region; });
}

template <class Ptr>
Result<Ptr> find_by_name(const std::vector<Ptr>& devices, std::string_view name) {
  for (const Ptr& device : devices) {
    if (device->record().name() == name) return device;
  }
  return fail(
      ENOENT,
      fmt::format("{}: no such {}", name, name.starts_with("volume") ? "volume" : "namespace"),
      kListHint);
}

}  // namespace

Result<void> DeviceTable::load() {
  for (const NamespaceRecord& record : pool_.namespaces()) PMEMD_TRY(add(record));
  for (const VolumeRecord& record : pool_.volumes()) PMEMD_TRY(add(record));
  return {};
}

Result<DeviceTable::Taken> DeviceTable::add(const NamespaceRecord& record) {
  PMEMD_ASSIGN(const RegionRecord region, pool_.region(record.region));
  auto device = std::make_shared<Device>(pool_, registry_, region, record);
  device->memory().set_observer(observer_);
  MutexLock lock(mutex_);
  const MustAllocate both_or_none;
  by_serial_[record.serial] = device;
  auto operation = take({device});
  if (!operation) {
    by_serial_.erase(record.serial);
    return std::unexpected(std::move(operation).error());
  }
  return Taken{{std::move(device)}, *std::move(operation)};
}

Result<DevicePtr> DeviceTable::add(const VolumeRecord& record) {
  std::vector<DevicePtr> legs;
  legs.reserve(record.legs.size());
  MutexLock lock(mutex_);
  for (const uint64_t serial : record.legs) {
    const auto leg = by_serial_.find(serial);
    if (leg == by_serial_.end()) {
      return fail(ENOENT, fmt::format("{}: its leg {} is not there", record.name(), serial));
    }
    legs.push_back(leg->second);
  }
  auto device = std::make_shared<Device>(pool_, registry_, record, std::move(legs));
  by_serial_[record.serial] = device;
  return device;
}

void DeviceTable::remove(const DevicePtr& device) {
  const MustAllocate it_has_happened;
  {
    MutexLock lock(mutex_);
    destroyed_.insert(device->record().serial);
  }
  forget_destroyed();
}

void DeviceTable::forget_destroyed() {
  std::vector<DevicePtr> forgotten;  // destroyed after the lock: that may wait for an unmap
  MutexLock lock(mutex_);
  forgotten.reserve(destroyed_.size());
  std::erase_if(destroyed_, [&](uint64_t serial) PMEMD_REQUIRES(mutex_) {
    const auto device = by_serial_.find(serial);
    if (device->second->lookups().counts().size() != 0) return false;
    forgotten.push_back(std::move(device->second));
    by_serial_.erase(device);
    return true;
  });
}

DevicePtr DeviceTable::by_ino(uint64_t ino) {
  MutexLock lock(mutex_);
  const auto it = by_serial_.find(inode_serial(ino));
  return it == by_serial_.end() ? nullptr : it->second;
}

DevicePtr DeviceTable::by_shown_name(std::string_view name) {
  MutexLock lock(mutex_);
  for (const auto& [serial, device] : by_serial_) {
    if (device->is_shown() && device->record().device_name() == name) return device;
  }
  return nullptr;
}

Result<DevicePtr> DeviceTable::find_by_device_name(std::string_view name) {
  for (const DevicePtr& device : by_serial()) {
    if (device->record().device_name() == name) return device;
  }
  return fail(ENOENT, fmt::format("/{}: no such device", name), kListHint);
}

Result<DevicePtr> DeviceTable::find(std::string_view name) { return find_by_name(all(), name); }

Result<ConstDevicePtr> DeviceTable::find(std::string_view name) const {
  return find_by_name(all(), name);
}

std::vector<DevicePtr> DeviceTable::listed() const {
  std::vector<DevicePtr> devices;
  for (const auto& [serial, device] : by_serial_) {
    if (!destroyed_.contains(serial)) devices.push_back(device);
  }
  return devices;
}

std::vector<DevicePtr> DeviceTable::by_serial() {
  MutexLock lock(mutex_);
  return listed();
}

std::vector<DevicePtr> DeviceTable::all() {
  auto devices = by_serial();
  sort_by_name(devices);
  return devices;
}

std::vector<ConstDevicePtr> DeviceTable::all() const {
  std::vector<ConstDevicePtr> devices;
  {
    MutexLock lock(mutex_);
    for (DevicePtr& device : listed()) devices.push_back(std::move(device));
  }
  sort_by_name(devices);
  return devices;
}

std::vector<DevicePtr> DeviceTable::of_region(uint32_t region) {
  auto devices = all();
  keep_region(devices, region);
  return devices;
}

std::vector<ConstDevicePtr> DeviceTable::of_region(uint32_t region) const {
  auto devices = all();
  keep_region(devices, region);
  return devices;
}

std::vector<ConstDevicePtr> DeviceTable::namespaces() const {
  auto devices = all();
  std::erase_if(devices, [](const auto& device) { return device->record().is_volume(); });
  return devices;
}

std::vector<ConstDevicePtr> DeviceTable::volumes() const {
  auto devices = all();
  keep_region(devices, std::nullopt);
  return devices;
}

// A device becomes or stops being a leg only under an Operation on it and its volume. So a stack
// that is about to change is either found under an Operation, or found as it was.
std::set<uint64_t> DeviceTable::stacks_of(const std::vector<DevicePtr>& devices) const {
  std::set<uint64_t> serials;
  std::vector<Device*> to_visit;
  to_visit.reserve(devices.size());
  for (const DevicePtr& device : devices) to_visit.push_back(device.get());
  while (!to_visit.empty()) {
    Device* const device = to_visit.back();
    to_visit.pop_back();
    if (!serials.insert(device->record().serial).second) continue;
    for (const auto& [serial, other] : by_serial_) {
      if (destroyed_.contains(serial)) continue;
      const auto legs = other->record().legs();
      if (other.get() == device) {
        for (const uint64_t leg : legs) to_visit.push_back(by_serial_.at(leg).get());
      } else if (std::ranges::find(legs, device->record().serial) != legs.end()) {
        to_visit.push_back(other.get());
      }
    }
  }
  return serials;
}

Result<DeviceTable::Operation> DeviceTable::begin_operation(const std::vector<DevicePtr>& devices) {
  MutexLock lock(mutex_);
  return take(devices);
}

Result<DeviceTable::Taken> DeviceTable::begin_operation_on_region(uint32_t region) {
  MutexLock lock(mutex_);
  auto devices = listed();
  keep_region(devices, region);
  sort_by_name(devices);
  PMEMD_ASSIGN(auto operation, take(devices));
  return Taken{std::move(devices), std::move(operation)};
}

Result<DeviceTable::Operation> DeviceTable::take(const std::vector<DevicePtr>& devices) {
  if (stopping_) return fail(ECANCELED, "the daemon is stopping");
  for (const DevicePtr& device : devices) {
    // Found earlier, but removed from the table since.
    const auto listed = by_serial_.find(device->record().serial);
    if (listed == by_serial_.end() || destroyed_.contains(listed->first)) {
      return fail(ENOENT, fmt::format("{}: destroyed", device->record().name()));
    }
  }
  const auto serials = stacks_of(devices);
  for (const uint64_t serial : serials) {
    if (!in_operation_.contains(serial)) continue;
    return fail(
        EBUSY,
        fmt::format("{}: another operation is under way", by_serial_.at(serial)->record().name()),
        "wait for it to end: pmemctl monitor tells");
  }
  std::vector<uint64_t> taken(serials.begin(), serials.end());
  const MustAllocate all_of_them;
  in_operation_.insert(serials.begin(), serials.end());
  return Operation(this, std::move(taken));
}

DeviceTable::Operation::~Operation() {
  if (table_ == nullptr) return;
  MutexLock lock(table_->mutex_);
  for (const uint64_t serial : serials_) table_->in_operation_.erase(serial);
  table_->operation_done_cv_.notify_all();
}

bool DeviceTable::interrupt_operations(Deadline deadline) {
  std::vector<DevicePtr> devices;
  {
    MutexLock lock(mutex_);
    stopping_ = true;  // none is added any more
    for (const auto& [serial, device] : by_serial_) devices.push_back(device);
  }
  for (const DevicePtr& device : devices) device->handles().interrupt_waits();
  MutexLock lock(mutex_);
  while (!in_operation_.empty()) {
    if (!operation_done_cv_.wait_until(mutex_, deadline)) return in_operation_.empty();
  }
  return true;
}

}  // namespace pmemd
