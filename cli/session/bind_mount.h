// Finds files of the mount that are named through another mount of the same file system.
//
// Thread contract: any thread.
#pragma once

#include <optional>
#include <string>

namespace pmemd::cli {

// The path, within the file system mounted at `mount`, of the file that a bind mount shows at
// `path` (canonical): "/pmem0/dir/a". Nothing: the file is another file system's, or one of the two
// can't be examined. The caller handles paths in `mount` itself.
std::optional<std::string> path_behind_bind_mount(const std::string& path,
                                                  const std::string& mount);

}  // namespace pmemd::cli
