// Checks a pool below its file systems; core/filesystem/check.h checks all of it.
//
// Reads only. Thread contract: PoolView's.
#pragma once

#include <vector>

#include "core/base/error.h"
#include "core/pool/pool_view.h"
#include "core/pool/records.h"

namespace pmemd {

// Returns what is wrong with the database itself (SQLite's integrity check, the schema, references,
// and each value of each row, by core/pool/columns.h), and then, only if that is sound, with labels
// and images: overlaps, alignment, bounds, info blocks, image sizes, files and rows that belong to
// nothing. Empty if nothing is wrong. Skips what is made or destroyed meanwhile.
Result<std::vector<Finding>> check_regions(PoolView& view);

// Adds the tables, columns, indexes and triggers that differ from core/pool/schema.h. Needs the
// database's mutex.
Result<void> check_schema(Database& database, std::vector<Finding>& findings);

}  // namespace pmemd
