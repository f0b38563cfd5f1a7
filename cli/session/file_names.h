// Files of the mount, as people name them on a command line, for the daemon: a path of this system
// (relative, or through a bind mount, too), or as core/base/file_name.h has it.
//
// Thread contract: the session's.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "cli/session/session.h"
#include "core/control/varlink.h"

namespace pmemd::cli {

// What `text` names, from the mount's root; * and ? are wildcards. One that isn't seen from here is
// left as it is, for the daemon to judge. ENOENT: there is none. EINVAL: one isn't in the mount.
// Else what a call says.
std::expected<std::vector<std::string>, VarlinkError> files_named(Session& session,
                                                                  const std::string& text);

// The same of a pattern for names that may not be there yet; its wildcards stay.
std::expected<std::string, VarlinkError> pattern_named(Session& session, const std::string& text);

}  // namespace pmemd::cli
