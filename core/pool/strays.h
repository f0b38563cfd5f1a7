// Rows with a serial that no namespace and no volume has.
//
// They are lost files of a device whose label is gone: the space that the label had taken is free
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

// One for each table and serial; costs one lookup per namespace and table, however many rows there
// are. Needs the database's mutex.
Result<std::vector<Strays>> find_strays(Database& database, const Labels& labels);

// EIO: there are some (the message names the first).
Result<void> refuse_strays(Database& database, const Labels& labels);

}  // namespace pmemd
