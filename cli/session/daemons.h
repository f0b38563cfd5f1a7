// Finds the daemon that a run of pmemctl means, if it doesn't name a socket.
//
// Thread contract: the session's.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "core/control/varlink.h"

namespace pmemd::cli {

// Directories that have control sockets, the first ones preferred: the user's own and the system's,
// for members of the group pmem the other way round.
std::vector<std::string> socket_directories();

// The socket of the service pmemd@NAME.
std::string socket_of_instance(const std::string& name);

// The socket of the daemon whose mount shows the file `file` (a path of this system; it may be
// empty, or no file); else of the only daemon in the first directory that has any. ENOENT: no
// daemon answers. EACCES: those that run don't let us in. EMLINK: there are several (message:
// which, on which mounts). Sockets that somebody else could have planted are passed over.
std::expected<std::string, VarlinkError> find_daemon(const std::vector<std::string>& directories,
                                                     const std::string& file, int stop_fd);

}  // namespace pmemd::cli
