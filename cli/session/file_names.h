// Translates names of files on the command line for the daemon: a path of this system (relative or
// through a bind mount, too), or a name as in core/base/file_name.h.
//
// Thread contract: the session's.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "cli/session/session.h"
#include "core/control/varlink.h"

namespace pmemd::cli {

// The files that `text` names, from the mount's root; * and ? are wildcards. A name that can't be
// resolved here is passed on unchanged, for the daemon to judge. ENOENT: there is none. EINVAL: one
// isn't in the mount. Other errors are those of a call.
std::expected<std::vector<std::string>, VarlinkError> files_named(Session& session,
                                                                  const std::string& text);

// The same for a pattern of names that may not exist yet; its wildcards stay.
std::expected<std::string, VarlinkError> pattern_named(Session& session, const std::string& text);

}  // namespace pmemd::cli
