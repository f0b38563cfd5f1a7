// Where control sockets are.
#pragma once

#include <string>

namespace pmemd {

// Of root's daemons, the services among them: NAME.sock of pmemd@NAME.
inline constexpr const char* kSystemSocketDirectory = "/run/pmemd";

// Of the effective user's daemons: for root the one above; for others $XDG_RUNTIME_DIR/pmemd, else
// /run/user/UID/pmemd, else (without a login session) /tmp/pmemd-UID. In /tmp anybody may be
// quicker to make that name: check it (core/base/safe_path.h) before you use what is in it.
std::string own_socket_directory();

// The socket named "control" there: where a daemon listens by default.
std::string default_control_path();

}  // namespace pmemd
