// Reads all extents of a file system, when nobody uses it: before a mount, and at its end.
//
// Thread contract: as Rows, save that the database's mutex isn't held: it is taken for some rows at
// a time, so that other namespaces get the database meanwhile.
#pragma once

#include <cstdint>
#include <functional>

#include "core/base/error.h"
#include "core/database/database.h"
#include "core/filesystem/rows.h"
#include "core/range/range.h"

namespace pmemd {

// The checksum of all rows, as docs/pool-format.md has it. `visit`: each one's data, in no order.
// EIO: one that its columns don't accept, that overlaps another of its file, that leaves the data
// area, or of the root directory and not the superblock's.
Result<uint64_t> scan_extents(Database& db, Rows& rows,
                              const std::function<void(DataRange)>& visit = {});

}  // namespace pmemd
