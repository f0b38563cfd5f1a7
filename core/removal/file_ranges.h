// Ranges of files that are taken away, and the operations on them: find holders, flush, revoke,
// verify.
//
// Removal, a leg's removal, poison and a p2p pool's buffers differ in which ranges they take, in
// what order, and in what they tell. How a range is taken away is implemented here, once.
//
// Invariants:
//  1. One inval for each contiguous range of a file; one for a whole file if its whole device goes.
//  2. revoke() looks at the page tables: the pages it counts as left are present in them.
//
// Thread contract: one thread, which serves no requests, for as long as the devices live.
// Models: mm/memory.c unmap_mapping_range(), mm/truncate.c invalidate_inode_pages2_range() @v6.12;
// differs: several files, and the page tables are looked at afterwards.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "core/base/error.h"
#include "core/device/device.h"
#include "core/range/range_set.h"
#include "core/removal/kernel_port.h"

namespace pmemd {

class FileRanges {
 public:
  // All files of a device; each query sees what is lent at that time.
  void add_all(const Device& device);
  // A range of a file of the device, widened to whole pages.
  void add(const Device& device, uint64_t ino, FileRange range);
  void erase(uint64_t ino, FileRange range);
  void clear();  // keeps the whole devices

  bool empty() const { return whole_.empty() && files_.empty(); }
  // The files; for a whole device, those that have a lease.
  std::vector<uint64_t> files() const;
  // The ranges of a file that go, in order.
  std::vector<FileRange> ranges(uint64_t ino, FileRange within = kWholeFile) const;
  // Those parts that the kernel's page cache was lent: no other page can be present.
  std::vector<FileRange> lent(uint64_t ino) const;
  LeaseTable::Totals lent_totals() const;

  // These holders, with only their mappings of the ranges and their open files that have some.
  std::vector<Holder> held(const std::vector<Holder>& holders) const;
  // Counts the pages present in mappings of `holders`; `keep`: notes the count in each mapping.
  uint64_t count_present(std::vector<Holder>& holders, bool keep) const;
  bool is_pinned() const;

  struct Flushed {
    uint64_t tried = 0;  // files that somebody may have stored to through a mapping
    uint64_t done = 0;   // of these, written back as a whole
  };
  // Writes back ranges of at least `from_bytes`. ETIMEDOUT: the kernel doesn't answer.
  Result<Flushed> flush(KernelPort& kernel, uint64_t from_bytes = 0) const;
  // Takes them out of the page cache, without a look. Errors of KernelPort::inval(), except ENOENT.
  Result<void> inval(KernelPort& kernel) const;
  // Calls inval() until no page of `holders` is present: at least `at_least` times, and a few times
  // at most, as a page that is stored to or read meanwhile comes back. Returns the pages left.
  Result<uint64_t> revoke(KernelPort& kernel, std::vector<Holder>& holders, int at_least = 1) const;

 private:
  struct OfFile {
    const Device* device = nullptr;
    RangeSet<FileSpace> ranges;
  };

  bool has(uint64_t ino, FileRange range) const;

  std::map<uint64_t, const Device*> whole_;  // by serial
  std::map<uint64_t, OfFile> files_;         // by inode
};

}  // namespace pmemd
