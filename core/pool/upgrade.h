// Brings the database of an older pool to the version that this program writes.
//
//   1 → 2   nothing but the number: there are namespaces of mode private and p2p from now on
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

// The tables that came with the versions behind `above`, up to `version`. The database's mutex is
// held.
Result<void> make_tables(Database& database, int32_t above = 0, int32_t version = kPoolVersion);

// In one transaction, which then is in pool.db itself, without a WAL: its header must tell the
// version. A kill at any point leaves a pool of either version, which the next call upgrades.
// Nothing happens to one of our version. EIO, ENOSPC: as before, or upgraded.
Result<void> upgrade_database(const std::string& pool, int32_t version);

}  // namespace pmemd
