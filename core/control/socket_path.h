// The default path of the control socket.
#pragma once

#include <string>

namespace pmemd {

// /run/pmemd/control for root; $XDG_RUNTIME_DIR/pmemd/control for others (/run/user/<uid>/… if that
// isn't set).
std::string default_control_path();

}  // namespace pmemd
