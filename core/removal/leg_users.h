// What a removal does to those who stand on a leg that goes, while its volume stays.
//
// A leg has no files and no page cache of its own. What a removal does to a device's files it does
// here to the volume's file ranges that lie on it: each contiguous one is flushed, invalidated and
// told once; the rest of the same files isn't touched.
//
// Thread contract: one thread, which serves no requests and may operate on the leg and its volumes.
// Models: fs/xfs/xfs_notify_failure.c xfs_dax_notify_failure() (pre-remove; metadata is ignored)
// @v6.12; differs: the device under the file system stays, so nothing is shut down.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/error.h"
#include "core/device/device.h"
#include "core/events/event.h"
#include "core/removal/leg_view.h"
#include "core/removal/removal.h"

namespace pmemd {

class LegUsers : public LegView {
 public:
  // Null: it is no leg of an enabled volume, or the outermost one is among those that go too.
  static std::unique_ptr<LegUsers> of(Device& leg, const std::vector<Device*>& going);

  Device& volume() const { return volume_; }

  // To registered mappings of the ranges.
  void tell(const MapperNotice& notice) const;
  // How many files.
  uint64_t flush(KernelPort& kernel) const;
  Result<void> revoke(KernelPort& kernel) const;
  // They are in nobody's page cache any more.
  void give_back();
  // Writebacks that failed since this was made.
  uint64_t lost_writebacks() const { return volume_.lost_writebacks() - lost_before_; }

 private:
  LegUsers(Device& leg, Device& volume)
      : LegView(leg, volume), volume_(volume), lost_before_(volume.lost_writebacks()) {}

  Device& volume_;
  const uint64_t lost_before_;
};

// EBUSY, with the volume's name: an enabled volume uses one of them, and doesn't go too.
Result<void> check_no_leg_in_use(const std::vector<Device*>& going);

}  // namespace pmemd
