#include "core/control/socket_path.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

namespace pmemd {

std::string own_socket_directory() {
  const uid_t user = ::geteuid();
  if (user == 0) return kSystemSocketDirectory;
  const char* directory = ::getenv("XDG_RUNTIME_DIR");
  if (directory != nullptr && *directory == '/') return std::string(directory) + "/pmemd";
  const std::string runtime = fmt::format("/run/user/{}", user);
  if (::access(runtime.c_str(), W_OK | X_OK) == 0) return runtime + "/pmemd";
  return fmt::format("/tmp/pmemd-{}", user);
}

std::string default_control_path() { return own_socket_directory() + "/control"; }

}  // namespace pmemd
