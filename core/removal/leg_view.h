// Who stands on a leg, while its volume stays: the files of the outermost volume, as far as they
// lie on the leg. Looks, and changes nothing; what a removal does to them is LegUsers.
//
// Thread contract: one thread, which serves no requests, and for as long as it has the volume's
// Device.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "core/base/error.h"
#include "core/device/device.h"
#include "core/range/range_set.h"
#include "core/removal/report.h"

namespace pmemd {

class LegView {
 public:
  // Null: it is no leg of an enabled volume, or the outermost one is among those that go too.
  // `known`: whose Devices the caller has; a volume that isn't among them is nobody's.
  static std::unique_ptr<LegView> of(const Device& leg, const std::vector<const Device*>& going,
                                     const std::vector<const Device*>& known);

  // The outermost enabled volume: its files are meant.
  const Device& volume() const { return volume_; }
  // The file ranges, by inode, as the holders of the leg tell (dax_holder_notify_failure()). Of a
  // leg that admits no new writes they only shrink. ENXIO: the leg is gone. Errors: the holders'.
  Result<void> find();

  // What of a file lies on the leg, in order.
  std::vector<FileRange> ranges(uint64_t ino, FileRange within = kWholeFile) const;
  // As the functions of report.h, of these ranges.
  void note_holders(RemovalReport& report, const std::vector<Holder>& holders) const;
  uint64_t count_present_pages(RemovalReport& report, bool keep) const;
  bool is_pinned() const;
  uint64_t files() const { return files_.size(); }

 protected:
  LegView(const Device& leg, const Device& volume) : leg_(leg), volume_(volume) {}
  const std::map<uint64_t, RangeSet<FileSpace>>& ranges_by_file() const { return files_; }

 private:
  // What of ranges() the kernel's page cache was lent: no other page can be present.
  std::vector<FileRange> lent(uint64_t ino) const;

  const Device& leg_;
  const Device& volume_;
  std::map<uint64_t, RangeSet<FileSpace>> files_;
};

}  // namespace pmemd
