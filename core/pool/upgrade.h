// Brings the database of an older pool to the version that this program writes.
//
//   1 → 2   only the number: from now on there are namespaces of mode private and p2p
//   2 → 3   the tables of kPoolSchema3, and the reverse map
//   3 → 4   the table of kPoolSchema4, empty: no checksum is known until the next clean disable
//
// Thread contract: the pool's exclusive lock is held, and no Database is open in this process.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/error.h"
#include "core/database/database.h"
#include "core/pool/schema.h"

namespace pmemd {

// Makes the tables that the versions after `above`, up to `version`, added. The database's mutex
// must be held.
Result<void> make_tables(Database& database, int32_t above = 0, int32_t version = kPoolVersion);

// Runs one transaction, which ends up in pool.db itself, without a WAL: the header must have the
// version. A kill at any point leaves a pool of either version, which the next call upgrades. Does
// nothing to a pool of our version. EIO, ENOSPC: the pool is as before, or upgraded.
Result<void> upgrade_database(const std::string& pool, int32_t version);

}  // namespace pmemd
