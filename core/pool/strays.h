// Rows that belong to nobody: of a serial that no namespace and no volume has.
//
// They are files that are lost, of a device whose label has gone: what its label had taken is free
// to others, who would find its bytes there.
#pragma once

#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/database/database.h"
#include "core/pool/labels.h"

namespace pmemd {

struct Strays {
  std::string table;  // "inodes", "dirents", "extents", "xattrs"
  uint64_t serial = 0;
};

// One of each table and serial; costs a look-up a namespace and table, however many rows there are.
// Wants the database's mutex.
Result<std::vector<Strays>> find_strays(Database& database, const Labels& labels);

// EIO: there are some (the first one).
Result<void> refuse_strays(Database& database, const Labels& labels);

}  // namespace pmemd
