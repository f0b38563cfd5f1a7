// Files of the mount that are named through another mount of the same file system.
//
// Thread contract: any thread.
#pragma once

#include <optional>
#include <string>

namespace pmemd::cli {

// Where the file system that is mounted at `mount` has the file `path` (canonical), when a bind
// mount shows it there: "/pmem0/dir/a". Nothing: it is another file system's, or either of them
// can't be looked at. What lies in `mount` itself isn't asked about.
std::optional<std::string> path_behind_bind_mount(const std::string& path,
                                                  const std::string& mount);

}  // namespace pmemd::cli
