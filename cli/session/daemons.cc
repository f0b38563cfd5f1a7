#include "cli/session/daemons.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>

#include "cli/output/fields.h"
#include "cli/session/client.h"
#include "core/base/directory.h"
#include "core/base/safe_path.h"
#include "core/control/interface.h"
#include "core/control/socket_path.h"

namespace pmemd::cli {
namespace {

constexpr std::chrono::seconds kAnswerTimeout{5};

struct Daemons {
  std::vector<std::string> answering;  // sockets
  std::vector<std::string> closed;     // sockets that don't let us in
};

bool is_member_of_pmem() {
  const group* const pmem = ::getgrnam("pmem");  // NOLINT(concurrency-mt-unsafe): one thread
  if (pmem == nullptr) return false;
  std::vector<gid_t> groups(static_cast<size_t>(std::max(::getgroups(0, nullptr), 0)));
  groups.resize(static_cast<size_t>(
      std::max(::getgroups(static_cast<int>(groups.size()), groups.data()), 0)));
  return ::getegid() == pmem->gr_gid || std::ranges::find(groups, pmem->gr_gid) != groups.end();
}

// Sockets of dead daemons are passed over.
Daemons daemons_in(const std::string& directory, int stop_fd) {
  Daemons found;
  const auto names = names_in(directory);
  if (!names) return found;
  for (const std::string& name : *names) {
    const std::string path = fmt::format("{}/{}", directory, name);
    struct stat st = {};
    if (::lstat(path.c_str(), &st) != 0 || !S_ISSOCK(st.st_mode)) continue;
    if (!find_safe_entry(path, LastLink::kKeep)) continue;
    if (const auto client = Client::connect(path, stop_fd)) {
      found.answering.push_back(path);
    } else if (const auto err = number_of(client.error().parameters, "errno");
               err == EACCES || err == EPERM) {
      found.closed.push_back(path);
    }
  }
  std::ranges::sort(found.answering);
  return found;
}

std::string mount_of(const std::string& socket, int stop_fd) {
  auto client = Client::connect(socket, stop_fd);
  if (!client) return "";
  client->wait_at_most(kAnswerTimeout);
  const auto status = client->call({std::string(kInterface) + ".Status", Json::object()});
  return status ? text_of(*status, "mount") : "";
}

// Of the file system that shows it; nothing: there is no such file. Doesn't ask the file's server.
std::optional<dev_t> device_of(const std::string& path) {
  struct statx st = {};
  if (path.empty() ||
      ::statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st) != 0) {
    return std::nullopt;
  }
  return (dev_t{st.stx_dev_major} << 32) | st.stx_dev_minor;
}

std::unexpected<VarlinkError> failed(int err, std::string message, std::string_view hint) {
  return std::unexpected(
      pmemd::failed(Error{{err, std::generic_category()}, std::move(message), std::string(hint)}));
}

std::unexpected<VarlinkError> several(const std::vector<std::string>& sockets, int stop_fd) {
  std::vector<std::string> list;
  for (const std::string& socket : sockets) {
    const std::string mount = mount_of(socket, stop_fd);
    list.push_back(mount.empty() ? fmt::format("{} (doesn't answer)", socket)
                                 : fmt::format("{} (on {})", socket, mount));
  }
  return failed(EMLINK, fmt::format("several daemons run: {}", fmt::join(list, ", ")),
                "name one: --socket PATH, or -i NAME for the service pmemd@NAME");
}

}  // namespace

std::vector<std::string> socket_directories() {
  std::vector<std::string> directories = {own_socket_directory()};
  if (directories.front() == kSystemSocketDirectory) return directories;
  directories.insert(is_member_of_pmem() ? directories.begin() : directories.end(),
                     kSystemSocketDirectory);
  return directories;
}

std::string socket_of_instance(const std::string& name) {
  return fmt::format("{}/{}.sock", kSystemSocketDirectory, name);
}

std::expected<std::string, VarlinkError> find_daemon(const std::vector<std::string>& directories,
                                                     const std::string& file, int stop_fd) {
  std::vector<std::string> closed;
  std::vector<std::vector<std::string>> answering;  // by directory
  for (const std::string& directory : directories) {
    Daemons found = daemons_in(directory, stop_fd);
    closed.insert(closed.end(), found.closed.begin(), found.closed.end());
    if (!found.answering.empty()) answering.push_back(std::move(found.answering));
  }
  const bool is_only_one = answering.size() == 1 && answering.front().size() == 1;
  if (const auto device = device_of(file); device && !is_only_one) {
    for (const auto& sockets : answering) {
      for (const std::string& socket : sockets) {
        if (device_of(mount_of(socket, stop_fd)) == device) return socket;
      }
    }
  }
  if (!answering.empty()) {
    const auto& sockets = answering.front();
    if (sockets.size() > 1) return several(sockets, stop_fd);
    return sockets.front();
  }
  if (!closed.empty()) {
    return failed(EACCES, fmt::format("{}: permission denied", fmt::join(closed, ", ")),
                  kNotLetInHint);
  }
  return failed(ENOENT, fmt::format("no daemon answers in {}", fmt::join(directories, ", ")),
                kNoDaemonHint);
}

}  // namespace pmemd::cli
