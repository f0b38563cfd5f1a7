// Does a file system hold together? Reads the tables, and what free space should be zero; changes
// nothing. Thread contract: PoolView's.
#pragma once

#include <vector>

#include "core/base/error.h"
#include "core/pool/pool.h"
#include "core/pool/pool_view.h"

namespace pmemd {

// For an fsdax namespace; of another mode there is nothing to find.
//
// Every inode has a known type, a number that was handed out, and (but for the root and orphans) as
// many entries as links; every entry lies in a directory and leads to an inode of its type.
// Directories: one entry each, in what is their `..`; entry count, link count (2 + subdirectories),
// no cycles. Extents: whole blocks, of existing regular files, in the data area, disjoint there and
// in the file. Xattrs: of existing inodes. (An extent behind a file's end may be preallocated, so
// it tells nothing.)
// Free space reads as zeros: only of a namespace that was cleanly disabled, since until then space
// may be on its way; reads only what the host has allocated and written.
//
// What it finds in the tables was so at the view's one moment. Of each kind of problem, the first
// hundred are told. Errors: the database's, the image's.
// A leg has no file system of its own, and its bytes are its volume's.
Result<std::vector<Finding>> check_filesystem(PoolView& view, const NamespaceRecord& record);
Result<std::vector<Finding>> check_filesystem(PoolView& view, const VolumeRecord& record);

// All of a pool: check_regions() (core/pool/check.h), and then each file system, as they are at
// one moment. What is made, destroyed or enabled meanwhile is left out where its bytes would
// mislead.
Result<std::vector<Finding>> check_pool(Pool& pool);

}  // namespace pmemd
