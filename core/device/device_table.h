// The devices of the mount: which namespaces and volumes there are, by serial and by name.
//
// Requests find a device by the upper bits of the inode number. A destroyed namespace's device
// stays as long as the kernel knows inodes of it, so that forgets find their counts.
//
// Operations that change a device (enable, remove, destroy) are exclusive per device: Operation is
// the right to do one; a second one gets EBUSY instead of waiting silently. A stack is operated on
// as one: the right to a device includes the volumes above it and all their legs.
//
// Thread contract: any thread. Only interrupt_operations() blocks.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/mutex.h"
#include "core/device/device.h"
#include "core/pagemap/pagemap_registry.h"
#include "core/pool/pool.h"

namespace pmemd {

// shared: a request may still use a device that is being destroyed.
using DevicePtr = std::shared_ptr<Device>;
using ConstDevicePtr = std::shared_ptr<const Device>;

class DeviceTable {
 public:
  explicit DeviceTable(Pool& pool) : pool_(pool) {}

  // The emulated machine's pages, including the devices'.
  PagemapRegistry& registry() { return registry_; }
  const PagemapRegistry& registry() const { return registry_; }

  // For all devices that are added from now on.
  void set_observer(MediaObserver* observer) { observer_ = observer; }
  // Adds a disabled device for each namespace and volume of the pool.
  Result<void> load();

  class Operation {
   public:
    Operation(Operation&& other) noexcept
        : table_(std::exchange(other.table_, nullptr)), serials_(std::move(other.serials_)) {}
    ~Operation();

   private:
    friend class DeviceTable;
    Operation(DeviceTable* table, std::vector<uint64_t> serials)
        : table_(table), serials_(std::move(serials)) {}
    DeviceTable* table_;
    std::vector<uint64_t> serials_;
  };
  struct Taken {
    std::vector<DevicePtr> devices;
    Operation operation;
  };

  // Adds a namespace that was just made, and takes the right to it in the same step. ECANCELED:
  // shutting down.
  Result<Taken> add(const NamespaceRecord& record) PMEMD_EXCLUDES(mutex_);
  // Adds a volume. Its legs are disabled, and the caller has the right to them, and so to the
  // volume. ENOENT: a leg isn't in the table.
  Result<DevicePtr> add(const VolumeRecord& record) PMEMD_EXCLUDES(mutex_);
  // Removes a destroyed namespace's device from the list of devices.
  void remove(const DevicePtr& device) PMEMD_EXCLUDES(mutex_);

  // A const table gives out const devices.
  DevicePtr by_ino(uint64_t ino) PMEMD_EXCLUDES(mutex_);                  // nullptr: never was
  DevicePtr by_shown_name(std::string_view name) PMEMD_EXCLUDES(mutex_);  // live ones only
  // "namespace0.0", "volume0". ENOENT.
  Result<DevicePtr> find(std::string_view name) PMEMD_EXCLUDES(mutex_);
  Result<ConstDevicePtr> find(std::string_view name) const PMEMD_EXCLUDES(mutex_);
  // The device that the mount shows as `name` ("pmem0"), or would if it were enabled. ENOENT.
  Result<DevicePtr> find_by_device_name(std::string_view name) PMEMD_EXCLUDES(mutex_);
  std::vector<DevicePtr> all() PMEMD_EXCLUDES(mutex_);  // by region, then id; volumes last
  std::vector<ConstDevicePtr> all() const PMEMD_EXCLUDES(mutex_);
  // In order of serials: a leg before its volume.
  std::vector<DevicePtr> by_serial() PMEMD_EXCLUDES(mutex_);
  std::vector<DevicePtr> of_region(uint32_t region) PMEMD_EXCLUDES(mutex_);
  std::vector<ConstDevicePtr> of_region(uint32_t region) const PMEMD_EXCLUDES(mutex_);
  std::vector<ConstDevicePtr> namespaces() const PMEMD_EXCLUDES(mutex_);
  std::vector<ConstDevicePtr> volumes() const PMEMD_EXCLUDES(mutex_);
  // Drops destroyed devices that the kernel has forgotten.
  void forget_destroyed() PMEMD_EXCLUDES(mutex_);

  // EBUSY: another operation on one of the devices, or on one stacked with it, is in progress;
  // ECANCELED: shutting down.
  Result<Operation> begin_operation(const std::vector<DevicePtr>& devices) PMEMD_EXCLUDES(mutex_);
  // The same, on all namespaces that the region has at that moment.
  Result<Taken> begin_operation_on_region(uint32_t region) PMEMD_EXCLUDES(mutex_);
  // Shutdown: refuses new operations; those in progress no longer wait for holders' grace.
  // False: some aren't done at the deadline.
  bool interrupt_operations(Deadline deadline) PMEMD_EXCLUDES(mutex_);

 private:
  std::vector<DevicePtr> listed() const PMEMD_REQUIRES(mutex_);  // those not destroyed, by serial
  Result<Operation> take(const std::vector<DevicePtr>& devices) PMEMD_REQUIRES(mutex_);
  // Including all devices that are stacked with them.
  std::set<uint64_t> stacks_of(const std::vector<DevicePtr>& devices) const PMEMD_REQUIRES(mutex_);

  Pool& pool_;
  PagemapRegistry registry_;
  MediaObserver* observer_ = nullptr;

  mutable Mutex mutex_;
  CondVar operation_done_cv_;
  std::map<uint64_t, DevicePtr> by_serial_ PMEMD_GUARDED_BY(mutex_);
  std::set<uint64_t> destroyed_ PMEMD_GUARDED_BY(mutex_);
  std::set<uint64_t> in_operation_ PMEMD_GUARDED_BY(mutex_);
  bool stopping_ PMEMD_GUARDED_BY(mutex_) = false;
};

}  // namespace pmemd
