// The devices of the mount: which namespaces and volumes there are, by serial and by name.
//
// Requests find a device by the upper bits of the inode number. A destroyed namespace's device
// stays as long as the kernel knows inodes of it, so that its forgets find their counts.
//
// Operations that change a device (enable, remove, destroy) are exclusive per device: Operation is
// the right to do one; a second one gets EBUSY instead of waiting in silence. What is stacked is
// operated on as one: the right to a device is the right to the volumes above it and all their
// legs.
//
// Thread contract: any thread. No function blocks but interrupt_operations().
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

  // The emulated machine's pages; the devices' among them.
  PagemapRegistry& registry() { return registry_; }
  const PagemapRegistry& registry() const { return registry_; }

  // For all devices that are added from now on.
  void set_observer(MediaObserver* observer) { observer_ = observer; }
  // Adds a device for each namespace and volume of the pool; disabled.
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

  // Of a namespace that was just made, with the right to it: nobody gets between. ECANCELED:
  // shutting down.
  Result<Taken> add(const NamespaceRecord& record) PMEMD_EXCLUDES(mutex_);
  // Its legs are there, and disabled, and the caller has the right to them, and so to the volume.
  // ENOENT: one isn't there.
  Result<DevicePtr> add(const VolumeRecord& record) PMEMD_EXCLUDES(mutex_);
  // Takes a destroyed namespace's device off the list of devices.
  void remove(const DevicePtr& device) PMEMD_EXCLUDES(mutex_);

  // Who has the table const gets devices to look at.
  DevicePtr by_ino(uint64_t ino) PMEMD_EXCLUDES(mutex_);                  // nullptr: never was
  DevicePtr by_shown_name(std::string_view name) PMEMD_EXCLUDES(mutex_);  // live ones only
  // "namespace0.0", "volume0". ENOENT.
  Result<DevicePtr> find(std::string_view name) PMEMD_EXCLUDES(mutex_);
  Result<ConstDevicePtr> find(std::string_view name) const PMEMD_EXCLUDES(mutex_);
  // The one that the mount shows, or would show if it were enabled, as `name`: "pmem0". ENOENT.
  Result<DevicePtr> find_by_device_name(std::string_view name) PMEMD_EXCLUDES(mutex_);
  std::vector<DevicePtr> all() PMEMD_EXCLUDES(mutex_);  // by region, then id; then volumes
  std::vector<ConstDevicePtr> all() const PMEMD_EXCLUDES(mutex_);
  // In order of serials: a leg before its volume.
  std::vector<DevicePtr> by_serial() PMEMD_EXCLUDES(mutex_);
  std::vector<DevicePtr> of_region(uint32_t region) PMEMD_EXCLUDES(mutex_);
  std::vector<ConstDevicePtr> of_region(uint32_t region) const PMEMD_EXCLUDES(mutex_);
  // Drops destroyed devices that the kernel has forgotten.
  void forget_destroyed() PMEMD_EXCLUDES(mutex_);

  // EBUSY: another operation on one of the devices, or on what is stacked with it, is under way;
  // ECANCELED: shutting down.
  Result<Operation> begin_operation(const std::vector<DevicePtr>& devices) PMEMD_EXCLUDES(mutex_);
  // The same, of all namespaces that the region has then.
  Result<Taken> begin_operation_on_region(uint32_t region) PMEMD_EXCLUDES(mutex_);
  // Shutdown: no new operations, and those under way wait for nobody's grace any more.
  // False: some are not done at the deadline.
  bool interrupt_operations(Deadline deadline) PMEMD_EXCLUDES(mutex_);

 private:
  std::vector<DevicePtr> listed() const PMEMD_REQUIRES(mutex_);  // those not destroyed, by serial
  Result<Operation> take(const std::vector<DevicePtr>& devices) PMEMD_REQUIRES(mutex_);
  // With all that is stacked with them.
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
