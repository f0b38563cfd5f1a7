#include "cli/mount_paths.h"

#include <fmt/format.h>
#include <glob.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cli/bind_mount.h"

namespace pmemd::cli {
namespace {

VarlinkError failed(int err, std::string message, std::string hint) {
  return {"org.pmemd.Failed",
          {{"errno", err},
           {"errno_name", err == ENOENT ? "ENOENT" : "EINVAL"},
           {"message", std::move(message)},
           {"hint", std::move(hint)}}};
}

}  // namespace

std::expected<std::vector<std::string>, VarlinkError> paths_in_mount(const std::string& pattern,
                                                                     const std::string& mount) {
  std::vector<std::string> named;
  std::error_code error;
  if (std::filesystem::exists(pattern, error)) {
    named.push_back(pattern);  // a name may have the characters of a pattern
  } else {
    glob_t found{};
    if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
      named.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
    }
    ::globfree(&found);
  }
  std::vector<std::string> paths;
  for (const std::string& path : named) {
    const auto real = std::filesystem::canonical(path, error);
    if (!error) paths.push_back(real.string());
  }
  if (paths.empty()) {
    return std::unexpected(failed(ENOENT, pattern + ": there is no such file", ""));
  }
  for (std::string& path : paths) {
    if (path.starts_with(mount + "/")) {
      path = path.substr(mount.size());
    } else if (auto behind = path_behind_bind_mount(path, mount)) {
      path = *std::move(behind);
    } else {
      return std::unexpected(failed(EINVAL, path + ": not in the mount",
                                    fmt::format("files of this daemon are below {}", mount)));
    }
  }
  return paths;
}

}  // namespace pmemd::cli
