// A device that goes, and the files that lose pages with it: its own; or, for a leg whose volume
// stays, those parts of the volume's files that lie on the leg.
//
// A leg has no files and no page cache of its own. Other parts of the same files aren't touched,
// and their volume stays: nothing is shut down.
//
// Thread contract: one thread, which serves no requests, for as long as it has the devices. Target
// needs the right to operate on them; TargetView only looks.
// Models: fs/xfs/xfs_notify_failure.c xfs_dax_notify_failure() (pre-remove; metadata is ignored)
// @v6.12; differs: the device under the file system stays.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "core/base/error.h"
#include "core/device/device.h"
#include "core/events/event.h"
#include "core/removal/file_ranges.h"
#include "core/removal/report.h"

namespace pmemd {

class TargetView {
 public:
  // `volume`: the outermost enabled one above a leg, if it stays; else null.
  TargetView(const Device& device, const Device* volume);

  const Device& device() const { return device_; }
  bool is_leg() const { return volume_ != nullptr; }
  const Device& files_of() const { return is_leg() ? *volume_ : device_; }
  const FileRanges& ranges() const { return ranges_; }
  // For a leg: asks its holders for the ranges (dax_holder_notify_failure()). While the leg admits
  // no new writes they only shrink. ENXIO: the leg is gone. Other errors are the holders'.
  Result<void> find();
  // Adds the hit part of a look's `holders` (join_looks()), the lent totals, and pages present.
  void note_holders(RemovalReport& report, const std::vector<Holder>& holders) const;

 private:
  const Device& device_;
  const Device* const volume_;
  FileRanges ranges_;
};

class Target : public TargetView {
 public:
  // `going`: a volume that goes too doesn't stay.
  explicit Target(Device& device, const std::vector<Device*>& going = {});

  Device& device() const { return device_; }
  Device& files_of() const { return files_of_; }
  // Publishes the event, then tells registered mappings of the device and of the ranges
  // (kPreRemove, kRemoved, kEnabled). Not told: mappers of private memory, which stays with its
  // processes, and of an fsdax whose settings say that it has no holder, or no reverse map. Returns
  // the event's seq. `answer_within`: if not 0, a MapperEvents::wait_answers() must follow.
  uint64_t tell(EventKind kind, EventBus& events,
                std::chrono::milliseconds answer_within = std::chrono::milliseconds(0)) const;
  // Gives the ranges' leases back: the page cache has no page of them any more.
  void give_back();
  // Failed writebacks: a device's since it was enabled, or those of a leg's volume since the start.
  uint64_t lost_writebacks() const { return files_of_.health().lost_writebacks() - lost_before_; }

 private:
  Target(Device* volume, Device& device);

  Device& device_;
  Device& files_of_;
  const uint64_t lost_before_;
};

// The outermost volume in use above a leg, looking only at `known` (Devices that the caller has);
// null: there is none, or it is among `going`.
const Device* volume_that_stays(const Device& leg, const std::vector<const Device*>& going,
                                const std::vector<const Device*>& known);

// EBUSY, with the volume's name: an enabled volume that isn't among `going` uses one of them.
Result<void> check_no_leg_in_use(const std::vector<Device*>& going);

}  // namespace pmemd
