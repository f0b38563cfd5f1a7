// Files of the mount as people name them, and as the daemon does.
//
// Thread contract: any thread.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "core/control/varlink.h"

namespace pmemd::cli {

// The files that a path or a pattern (* and ?) means, as paths from the root of `mount`. ENOENT:
// there is none. EINVAL: one isn't in the mount.
std::expected<std::vector<std::string>, VarlinkError> paths_in_mount(const std::string& pattern,
                                                                     const std::string& mount);

}  // namespace pmemd::cli
