#include "cli/session/file_names.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "cli/output/fields.h"
#include "cli/session/bind_mount.h"
#include "core/base/file_name.h"
#include "core/base/glob.h"

namespace pmemd::cli {
namespace {

using Names = std::expected<std::vector<std::string>, VarlinkError>;

VarlinkError failed(int err, const std::string& text, std::string_view problem) {
  return pmemd::failed(Error{{err, std::generic_category()},
                             fmt::format("{}: {}", text, problem),
                             "a path in the mount, /pmem0/dir/a from its root, or "
                             "namespace0.0:/dir/a"});
}

std::expected<std::string, VarlinkError> mount_of(Session& session) {
  const auto status = session.call("Status", Json::object());
  if (!status) return std::unexpected(status.error());
  const auto mount = status->find("mount");
  return mount != status->end() && mount->is_string() ? mount->get<std::string>() : "";
}

// The files that exist now, without links in their paths.
std::vector<std::string> files_at(const std::string& pattern) {
  std::vector<std::string> found, real;
  std::error_code error;
  if (std::filesystem::exists(pattern, error)) {
    found.push_back(pattern);  // a name may contain a pattern's characters
  } else {
    glob_t matches{};
    if (::glob(pattern.c_str(), 0, nullptr, &matches) == 0) {
      found.assign(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
    }
    ::globfree(&matches);
  }
  for (const std::string& path : found) {
    const auto canonical = std::filesystem::canonical(path, error);
    if (!error) real.push_back(canonical.string());
  }
  return real;
}

// The path from the mount's root, if the file is in the mount.
std::optional<std::string> path_in_mount(const std::string& real, const std::string& mount) {
  if (mount.empty()) return std::nullopt;
  if (real == mount) return "/";
  if (real.starts_with(mount + "/")) return real.substr(mount.size());
  return path_behind_bind_mount(real, mount);
}

// The same for all of them; none if one isn't in the mount.
std::vector<std::string> paths_in_mount(const std::vector<std::string>& files,
                                        const std::string& mount) {
  std::vector<std::string> paths;
  for (const std::string& real : files) {
    auto path = path_in_mount(real, mount);
    if (!path) return {};
    paths.push_back(*std::move(path));
  }
  return paths;
}

// Splits "namespace0.0:/a" into the name of an object and a path below it.
std::optional<FileName> named_by_object(const std::string& text) {
  auto name = parse_file_name(text, "");
  if (!name || name->object.empty()) return std::nullopt;
  return *std::move(name);
}

// The name in the mount of a namespace or volume, enabled or not; empty: there is no such object.
std::expected<std::string, VarlinkError> device_of(Session& session, const std::string& object) {
  const auto reply =
      session.call("List", {{"namespaces", true}, {"volumes", true}, {"idle", true}});
  if (!reply) return std::unexpected(reply.error());
  for (const char* const list : {"namespaces", "volumes"}) {
    for (const Json& one : list_of(*reply, list)) {
      if (text_of(one, "dev") != object) continue;
      return text_of(one, "blockdev") + text_of(one, "chardev");
    }
  }
  return "";
}

std::string escaped(const std::string& path) {
  std::string pattern;
  for (const char c : path) {
    if (c == '*' || c == '?' || c == '[' || c == '\\') pattern += '\\';
    pattern += c;
  }
  return pattern;
}

}  // namespace

Names files_named(Session& session, const std::string& text) {
  if (const auto files = files_at(text); !files.empty()) session.is_about(files.front());
  std::string pattern = text;
  if (const auto name = named_by_object(text)) {
    if (!has_wildcards(name->path)) return std::vector{text};
    const auto device = device_of(session, name->object);
    if (!device) return std::unexpected(device.error());
    if (device->empty()) return std::unexpected(failed(ENOENT, text, "there is no such file"));
    pattern = "/" + *device + name->path;
  }
  const bool is_absolute = pattern.starts_with('/');
  auto found = files_at(pattern);
  if (found.empty() && is_absolute && !has_wildcards(pattern)) return std::vector{pattern};
  const auto mount = mount_of(session);
  if (!mount) return std::unexpected(mount.error());
  if (auto names = paths_in_mount(found, *mount); !names.empty()) return names;
  if (is_absolute) {
    if (auto names = paths_in_mount(files_at(*mount + pattern), *mount); !names.empty())
      return names;
  }
  if (!found.empty()) return std::unexpected(failed(EINVAL, found.front(), "not in the mount"));
  return std::unexpected(failed(ENOENT, text, "there is no such file"));
}

std::expected<std::string, VarlinkError> pattern_named(Session& session, const std::string& text) {
  if (named_by_object(text)) return text;
  // Up to the last directory without wildcards.
  const size_t plain = std::min(text.find_first_of("*?[\\"), text.size());
  const size_t slash = text.substr(0, plain).rfind('/');
  const std::string directory = slash == std::string::npos ? "." : text.substr(0, slash + 1);
  const std::string rest = slash == std::string::npos ? text : text.substr(slash + 1);
  std::error_code error;
  const auto real = std::filesystem::canonical(directory, error);
  if (!error) {
    session.is_about(real.string());
    const auto mount = mount_of(session);
    if (!mount) return std::unexpected(mount.error());
    const auto path = path_in_mount(real.string(), *mount);
    if (path) return escaped(*path == "/" ? "" : *path) + "/" + rest;
  }
  if (text.starts_with('/')) return text;
  return std::unexpected(failed(EINVAL, text, "not in the mount"));
}

}  // namespace pmemd::cli
