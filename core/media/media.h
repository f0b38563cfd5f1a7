// The data area of a device, which carries a file system or the one file of a devdax: its bytes,
// and which of them can't be read.
//
// A pmem driver's handling of bad blocks is implemented here, once, for everything above: a read
// that touches a bad byte fails; a write of whole clear units makes them good; stores through a
// mapping never do. NamespaceMedia is a namespace's; a volume's translates to those of its legs.
//
// Offsets and ranges are in the data area; one outside of it is a bug of the caller (asserted).
//
// Thread contract: any thread, inside a read section of each Srcu that the caller's device waits
// for. Callers ensure that nobody else uses a range that is written, zeroed or discarded.
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
  // Who writes: a program by a system call, or the kernel, writing back stores of a mapping.
  enum class Writer { kProgram, kWriteback };

  Media() = default;
  Media(const Media&) = delete;
  Media& operator=(const Media&) = delete;
  virtual ~Media() = default;

  virtual uint64_t size_bytes() const = 0;

  // Who reads: a program that wants exactly these bytes, or the kernel's readahead. Readahead
  // doesn't count as a touch: a latent error in it stays latent.
  enum class Reader { kProgram, kReadahead };
  // EIO: as for view().
  virtual Result<void> read(uint64_t offset, std::span<std::byte> to) = 0;
  // Adds views of the range to `parts`: for a system call to read from, within the caller's
  // section. EIO: part of it is bad, or is on a leg that is gone.
  virtual Result<void> view(DataRange range, Reader reader, std::vector<iovec>& parts) = 0;
  // EIO: as for view(), or it covers part of a bad clear unit, or the unit can't be cleared.
  // kWriteback: data for bad bytes is dropped instead, and they stay bad.
  virtual Result<void> write(uint64_t offset, std::span<const std::byte> data, Writer writer) = 0;
  virtual Result<void> zero(DataRange range) = 0;  // as write() of a program
  // Returns when everything written to the range is durable on the host. EIO.
  virtual Result<void> persist(DataRange range) = 0;
  // Ensures, before blocks are used for a file, that the host has them, and that they are good and
  // zero. ENOSPC, EIO. (Page-aligned.)
  virtual Result<void> allocate(DataRange range) = 0;
  // Zeroes the range, which makes it good; may free its host blocks. EIO, ENOSPC. (Page-aligned.)
  virtual Result<void> discard(DataRange range) = 0;

  // For space that nobody owns: drops what is stored there. It reads as zeros, except that bad
  // bytes stay bad, and read as zeros once their errors are gone. EIO, ENOSPC. (Page-aligned.)
  virtual Result<void> drop(DataRange range) = 0;

  // Zeroes the bytes of `ranges` that are known to be bad, and only those, which makes them good.
  // Returns how many. EIO: they can't be cleared.
  virtual Result<uint64_t> clear(const std::vector<DataRange>& ranges) = 0;
  // The parts of `range` that can't be read, in order: bad, or gone.
  virtual std::vector<DataRange> bad(DataRange range) const = 0;
};

}  // namespace pmemd
