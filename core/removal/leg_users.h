// Who stands on a leg that goes, while its volume stays: the files of the outermost volume, as far
// as they lie on the leg.
//
// A leg has no files and no page cache of its own. What a removal does to a device's files it does
// here to these ranges: each contiguous one is flushed, invalidated and told once; the rest of the
// same files isn't touched.
//
// Thread contract: one thread, which serves no requests and may operate on the leg and its volumes.
// Models: fs/xfs/xfs_notify_failure.c xfs_dax_notify_failure() (pre-remove; metadata is ignored)
// @v6.12; differs: the device under the file system stays, so nothing is shut down.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "core/base/error.h"
#include "core/device/device.h"
#include "core/failure/event.h"
#include "core/range/range_set.h"
#include "core/removal/removal.h"
#include "core/removal/report.h"

namespace pmemd {

class LegUsers {
 public:
  // Null: it is no leg of an enabled volume, or the outermost one is among those that go too.
  static std::unique_ptr<LegUsers> of(Device& leg, const std::vector<Device*>& going);

  // The outermost enabled volume: its files are meant.
  Device& volume() const { return volume_; }
  // The file ranges, by inode, as the holders of the leg tell (dax_holder_notify_failure()). Of a
  // leg that admits no new writes they only shrink. Errors: the holders'.
  Result<void> find();

  // What of a file lies on the leg, in order.
  std::vector<FileRange> ranges(uint64_t ino, FileRange within = kWholeFile) const;
  // As the functions of report.h, of these ranges.
  void note_holders(RemovalReport& report, const std::vector<Holder>& holders) const;
  uint64_t count_present_pages(RemovalReport& report, bool keep) const;
  bool is_pinned() const;

  // To registered mappings of the ranges.
  void tell(const MapperNotice& notice) const;
  // How many files.
  uint64_t flush(KernelPort& kernel) const;
  Result<void> revoke(KernelPort& kernel) const;
  uint64_t files() const { return files_.size(); }
  // They are in nobody's page cache any more.
  void give_back();
  // Writebacks that failed since find().
  uint64_t lost_writebacks() const { return volume_.lost_writebacks() - lost_before_; }

 private:
  LegUsers(Device& leg, Device& volume) : leg_(leg), volume_(volume) {}
  // What of ranges() the kernel's page cache was lent: no other page can be present.
  std::vector<FileRange> lent(uint64_t ino) const;

  Device& leg_;
  Device& volume_;
  std::map<uint64_t, RangeSet<FileSpace>> files_;
  uint64_t lost_before_ = 0;
};

// EBUSY, with the volume's name: an enabled volume uses one of them, and doesn't go too.
Result<void> check_no_leg_in_use(const std::vector<Device*>& going);

}  // namespace pmemd
