// Does a file system hold together? Reads the tables alone; changes nothing.
#pragma once

#include <vector>

#include "core/base/error.h"
#include "core/region/pool.h"

namespace pmemd {

// Inode numbers in the namespace's range; every dirent leads to an inode of its type and every
// inode (but the root and orphans) has as many dirents as links; directories: one parent, entry
// count, link count (2 + subdirectories), no cycles; extents: aligned, in the data area, disjoint,
// of existing regular files, none behind the end of file's last block unless preallocated;
// xattrs of existing inodes. With `image`: free space reads as zeros (only ranges that the host has
// allocated are read).
Result<std::vector<Finding>> check_filesystem(Pool& pool, const NamespaceRecord& record);

}  // namespace pmemd
