// Paths of inodes, for reports: from pool.db alone, so they work while a namespace is disabled,
// too.
//
// Thread contract: any thread that doesn't hold the database's mutex.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "core/base/error.h"
#include "core/filesystem/rows.h"

namespace pmemd {

class Database;

// An inode → a path from its file system's root: "/a/b"; "/".
using Paths = std::map<uint64_t, std::string>;

// One path of each inode in `hints`, of the namespace or volume with that serial, whose data area
// has `data_bytes`. An inode without links has none. A hint is a path by which somebody knows the
// inode, or empty. It is used if it leads there; else every directory is read once. Errors: the
// database's.
Result<Paths> paths_of_inodes(Database& db, uint64_t serial, uint64_t data_bytes,
                              const Paths& hints);

// The same from names that were already read (Rows::names_of()).
Paths paths_of_names(const Rows::Names& names, uint64_t root, const std::set<uint64_t>& inos);

}  // namespace pmemd
