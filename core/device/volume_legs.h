// The legs of a volume: its memory.
//
// A leg is a device that no mount shows: it has no files of its own. An enabled volume holds one
// reference of the pagemap of each live leg, and is the leg's holder: a failure of the leg's memory
// reaches the volume in the volume's coordinates, one call for each contiguous range, and goes on
// to the volume's holder.
//
// Invariants:
//  1. A device is a leg of at most one volume; this changes only while both are disabled.
//  2. A leg's forced removal leaves the volume enabled: data on the leg is EIO until it is back.
//  3. The volume puts its reference of a leg before the leg's release waits for references.
//
// Thread contract: constant after construction, except what enabling changes. Only a thread with
// the right to operate on the volume and all its legs may change that. uses_legs(): any thread.
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
  // Makes them legs of the volume. Shared: destroyed devices live as long as the kernel knows their
  // inodes, and end in any order.
  VolumeLegs(Device& volume, const VolumeRecord& record, std::vector<std::shared_ptr<Device>> legs);
  ~VolumeLegs() override;

  std::span<const std::shared_ptr<Device>> legs() const override { return legs_; }
  bool uses_legs() const override { return in_use_.load(std::memory_order_acquire); }
  void take_leg(Device& leg) override;
  void free_legs() override;

  Result<MediaErrors*> media_errors() const override;

  // Takes the legs; the media translates to theirs. ENXIO: a leg isn't enabled (names the first).
  Result<void> map() override;
  Result<void> memremap(DevPagemap& pagemap) override;
  void resurrect(DevPagemap& pagemap) override;
  // Makes what was written to the legs that aren't disabled durable. Returns the first error.
  Result<void> persist() override;
  void unmap() override;  // lets them go
  std::vector<DataRange> errors(ErrorKind kind, DataRange range) const override;
  std::vector<DataRange> last_pages() const override;

 private:
  Device& volume_;
  const VolumeTable table_;
  const std::vector<std::shared_ptr<Device>> legs_;
  std::vector<std::unique_ptr<DaxHolder>> holders_;  // one per leg
  std::atomic<bool> in_use_ = false;
};

}  // namespace pmemd
