// Does a pool hold together? What lies below file systems; core/filesystem/check.h has all of it.
//
// Reads only. Thread contract: PoolView's.
#pragma once

#include <vector>

#include "core/base/error.h"
#include "core/pool/pool_view.h"
#include "core/pool/records.h"

namespace pmemd {

// What is wrong with the database as such (SQLite's integrity check, the schema, references, and
// each value of each row, by core/pool/columns.h), and then, only if that is well, with labels
// and images: overlaps, alignment, bounds, info blocks, image sizes, files and rows that belong to
// nothing. Empty when all holds together. What is made or destroyed meanwhile is left out.
Result<std::vector<Finding>> check_regions(PoolView& view);

// Which tables, columns, indexes and triggers are not those of core/pool/schema.h. Wants the
// database's mutex.
Result<void> check_schema(Database& database, std::vector<Finding>& findings);

}  // namespace pmemd
