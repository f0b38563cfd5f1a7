// Reads all extents of a file system while nobody uses it: before a mount, and at its end.
//
// Thread contract: as Rows, except that the database's mutex isn't held: it is taken for a few rows
// at a time, so that other namespaces get the database meanwhile.
#pragma once

#include <cstdint>
#include <functional>

#include "core/base/error.h"
#include "core/database/database.h"
#include "core/filesystem/rows.h"
#include "core/range/range.h"

namespace pmemd {

// Returns the checksum of all rows, as in docs/pool-format.md. `visit`: gets each one's data, in no
// particular order. EIO: a row that its columns don't accept, that overlaps another of its file,
// that leaves the data area, or that is the root directory's but not the superblock's.
Result<uint64_t> scan_extents(Database& db, Rows& rows,
                              const std::function<void(DataRange)>& visit = {});

}  // namespace pmemd
