#include "core/control/socket_path.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

namespace pmemd {

std::string default_control_path() {
  if (::geteuid() == 0) return "/run/pmemd/control";
  const char* directory = ::getenv("XDG_RUNTIME_DIR");
  if (directory != nullptr && *directory == '/') return std::string(directory) + "/pmemd/control";
  return fmt::format("/run/user/{}/pmemd/control", ::geteuid());
}

}  // namespace pmemd
