// The legs of a volume: what makes it a device, and what it has of them while it is enabled.
//
// A leg is a device that stands in no mount: it has no files of its own. While the volume is
// enabled it has of each leg that is live one reference of the pagemap, and is the leg's holder: a
// failure of the leg's memory comes to the volume in the volume's coordinates, a call for each
// contiguous range, and goes on to its holder.
//
// Invariants:
//  1. A device is a leg of at most one volume; which one changes only while both are disabled.
//  2. A leg that goes by force leaves the volume enabled: what lies on it is EIO until it is back.
//  3. The reference of a leg is put before who releases the leg waits for it.
//
// Thread contract: constant after construction, save what enabling changes: that is for who has the
// right to operate on the volume and on all its legs. is_complete(), in_use(): any thread.
// Models: drivers/md/dm.c open_table_device(), close_table_device(), drivers/md/dm-table.c
// dm_table_supports_dax() @v6.12; differs: the holder of a leg's memory is the volume
// (device-mapper has no holder operations), and a leg can be taken away under it.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/device/memory.h"
#include "core/failure/dax_device.h"
#include "core/pool/records.h"

namespace pmemd {

class Device;

class VolumeLegs : public DeviceMemory {
 public:
  // Makes them legs of the volume. Shared: destroyed devices stay for as long as the kernel knows
  // their inodes, in no order.
  VolumeLegs(Device& volume, const VolumeRecord& record, std::vector<std::shared_ptr<Device>> legs);
  ~VolumeLegs() override;

  const std::vector<std::shared_ptr<Device>>& all() const { return legs_; }
  // The volume is destroyed: they are nobody's legs any more.
  void detach();

  // Of a volume that is in use: the leg is enabled again, or its removal was taken back; it goes.
  void take_one(Device& leg);
  void let_go_one(Device& leg);

  bool in_use() const { return in_use_.load(std::memory_order_acquire); }
  bool is_complete() const;  // every leg is live

  // Takes the legs: its media translates. ENXIO, with the first one's name: a leg isn't enabled.
  Result<void> map() override;
  Result<void> memremap(DevPagemap& pagemap) override;
  void resurrect(DevPagemap& pagemap) override;
  // What was written to those that are there is durable. The first error.
  Result<void> persist() override;
  void unmap() override;  // lets them go
  std::vector<DataRange> errors(ErrorKind kind, DataRange range) const override;
  std::vector<DataRange> last_pages() const override;

 private:
  Device& volume_;
  const VolumeTable table_;
  const std::vector<std::shared_ptr<Device>> legs_;
  std::vector<std::unique_ptr<DaxHolder>> holders_;  // one a leg
  std::atomic<bool> in_use_ = false;
};

}  // namespace pmemd
