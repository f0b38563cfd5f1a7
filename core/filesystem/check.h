// Checks a file system. Reads the tables, and free space that should be zero; changes nothing.
// Thread contract: PoolView's.
#pragma once

#include <vector>

#include "core/base/error.h"
#include "core/pool/pool.h"
#include "core/pool/pool_view.h"

namespace pmemd {

// For an fsdax namespace; one of another mode has nothing to check.
//
// Every inode has a known type, a number that was handed out, and (but for the root and orphans) as
// many entries as links; every entry lies in a directory and leads to an inode of its type.
// Directories: one entry each, in what is their `..`; entry count, link count (2 + subdirectories),
// no cycles. Extents: whole blocks, of existing regular files, in the data area, disjoint there and
// in the file. Xattrs: of existing inodes. (An extent past a file's end may be preallocated, so
// it isn't a problem.)
// Free space reads as zeros: checked only for a namespace that was cleanly disabled, because until
// then freed space may still be in transit; reads only what the host has allocated and written.
//
// Its findings in the tables hold for the view's one moment. It reports the first hundred problems
// of each kind. Errors: the database's, the image's.
// A leg has no file system of its own, and its bytes belong to its volume.
Result<std::vector<Finding>> check_filesystem(PoolView& view, const NamespaceRecord& record);
Result<std::vector<Finding>> check_filesystem(PoolView& view, const VolumeRecord& record);

// Checks all of a pool: check_regions() (core/pool/check.h), and then each file system, as of one
// moment. Skips what is made, destroyed or enabled meanwhile, where its bytes would mislead.
Result<std::vector<Finding>> check_pool(Pool& pool);

}  // namespace pmemd
