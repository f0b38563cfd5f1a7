// The superblock: the one block of a file system's own in its data area, the last. All other
// metadata is in pool.db.
//
// It says whose data area this is, so that a device that was put together wrongly (a volume's legs
// in another order) is seen. And it is what a failure can hit that isn't a file's.
//
// Thread contract: functions from any thread; nobody else uses the block.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/error.h"
#include "core/base/units.h"
#include "core/media/media.h"

namespace pmemd {

constexpr DataRange superblock_range(uint64_t data_bytes) {
  return DataRange::sized(data_bytes - kPageSize, kPageSize);
}

// Before the file system is made: what failed in the block when it was somebody else's is made
// good. EIO: it can't be.
Result<void> prepare_superblock(Media& media);

// Writes it where there are zeros: a new file system's, or one whose errors were cleared. EUCLEAN:
// it is another's, or can't be read; or it is in one of the pages `elsewhere`.
Result<void> verify_superblock(Media& media, uint64_t serial,
                               const std::vector<DataRange>& elsewhere);

}  // namespace pmemd
