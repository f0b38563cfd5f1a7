// The data area of a device, as a file system or the one file of a devdax stands on it: its bytes,
// and which of them can't be read.
//
// What a pmem driver does with bad blocks is here, once, for everything above: a read that touches
// a bad byte fails; a write of whole clear units makes them good; stores through a mapping never
// do. NamespaceMedia is a namespace's; a volume's translates to those of its legs.
//
// Offsets and ranges are in the data area; one outside of it is a bug of the caller (asserted).
//
// Thread contract: any thread, inside a read section of each Srcu that the caller's device waits
// for. Callers see to it that nobody else uses a range that is written, zeroed or discarded.
// Models: drivers/nvdimm/pmem.c pmem_do_read(), pmem_do_write(), pmem_dax_zero_page_range(),
// pmem_recovery_write() @v6.12; differs: a range that a write clears is durable before its record
// goes; half a clear unit is EIO, and nothing of that write is stored.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/base/error.h"
#include "core/range/range.h"

namespace pmemd {

class Media {
 public:
  // Who writes: a program by a system call, or the kernel, what a mapping has stored.
  enum class Writer { kProgram, kWriteback };

  Media() = default;
  Media(const Media&) = delete;
  Media& operator=(const Media&) = delete;
  virtual ~Media() = default;

  virtual uint64_t size_bytes() const = 0;

  // Who reads: a program that wants just these bytes, or the kernel ahead of it. What is read ahead
  // touches nothing: a latent error in it stays latent.
  enum class Reader { kProgram, kReadahead };
  // EIO: as for view().
  virtual Result<void> read(uint64_t offset, std::span<std::byte> to) = 0;
  // Adds views of the range to `parts`: for a system call to read from, in the caller's section.
  // EIO: part of it is bad, or is on a leg that is gone.
  virtual Result<void> view(DataRange range, Reader reader, std::vector<iovec>& parts) = 0;
  // EIO: as for view(), or part of a clear unit that is bad, or it can't be cleared. kWriteback:
  // bytes that are bad are dropped instead, and stay bad.
  virtual Result<void> write(uint64_t offset, std::span<const std::byte> data, Writer writer) = 0;
  virtual Result<void> zero(DataRange range) = 0;  // as write() of a program
  // Returns when what was written to the range is durable on the host. EIO.
  virtual Result<void> persist(DataRange range) = 0;
  // Before blocks are used for a file: sees to it that the host has them, and that they are good
  // zeros. ENOSPC, EIO. (Page-aligned.)
  virtual Result<void> allocate(DataRange range) = 0;
  // Zeroes the range, which is good then; its host blocks may go. EIO, ENOSPC. (Page-aligned.)
  virtual Result<void> discard(DataRange range) = 0;

  // For space that is nobody's: what is stored there goes. It reads as zeros, save what is bad,
  // which stays bad, and has zeros beneath when its errors go. EIO, ENOSPC. (Page-aligned.)
  virtual Result<void> drop(DataRange range) = 0;

  // Makes good what is known to be bad in `ranges`, and only that: zeros. How many bytes. EIO: it
  // can't be cleared.
  virtual Result<uint64_t> clear(const std::vector<DataRange>& ranges) = 0;
  // The parts of `range` that can't be read, in order: bad, or gone.
  virtual std::vector<DataRange> bad(DataRange range) const = 0;
};

}  // namespace pmemd
