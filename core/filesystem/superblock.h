// The superblock: the file system's only block of metadata in its data area, the last one. All
// other metadata is in pool.db.
//
// It identifies the data area, so that a device that was assembled wrongly (a volume's legs in
// another order) is detected. And it is the one block outside files that a failure can hit.
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

// Called before the file system is made: clears errors that the block had under an earlier owner.
// EIO: they can't be cleared.
Result<void> prepare_superblock(Media& media);

// Writes it if the block is zeros: in a new file system, or after its errors were cleared. EUCLEAN:
// it is another's, or can't be read; or it is in one of the pages `elsewhere`.
Result<void> verify_superblock(Media& media, uint64_t serial,
                               const std::vector<DataRange>& elsewhere);

}  // namespace pmemd
