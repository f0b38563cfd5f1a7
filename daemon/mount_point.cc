#include "daemon/mount_point.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

namespace pmemd {
namespace {

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string unescape(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

Result<void> run_fusermount(const std::string& path) {
  std::string program = "fusermount3", unmount = "-u", lazy = "-z", quiet = "-q", end = "--";
  std::string target = path;
  std::array<char*, 7> argv = {program.data(), unmount.data(), lazy.data(), quiet.data(),
                               end.data(),     target.data(),  nullptr};
  pid_t pid = 0;
  const int err = posix_spawnp(&pid, program.c_str(), nullptr, nullptr, argv.data(), environ);
  if (err != 0) return fail(err, "fusermount3: can't be run", "install the package fuse3");
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return fail(EBUSY, fmt::format("{}: fusermount3 could not unmount it", path));
}

// Does the connection behind the mount live? A dead one answers ENOTCONN at once; but not to what
// the kernel knows by itself, as the attributes of the mount's root.
bool is_dead(const std::string& path) {
  struct statx st = {};
  return statx(AT_FDCWD, path.c_str(), AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &st) != 0 &&
         errno == ENOTCONN;
}

bool is_below(const std::string& path, const std::string& directory) {
  return path == directory || path.starts_with(directory == "/" ? directory : directory + "/");
}

}  // namespace

// "36 35 0:44 / /mnt/pmem rw,nosuid shared:1 - fuse.pmemd pmemd rw,user_id=0"
std::optional<MountInfo> find_mount(const std::string& path) {
  std::optional<MountInfo> found;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string id, parent, numbers, root, point, word;
    fields >> id >> parent >> numbers >> root >> point;
    if (unescape(point) != path) continue;
    while (fields >> word && word != "-") {
    }
    MountInfo info;
    std::string source;
    fields >> info.type >> source >> info.options;
    const size_t colon = numbers.find(':');
    if (colon == std::string::npos) continue;
    info.device_number = makedev(static_cast<unsigned>(std::stoul(numbers.substr(0, colon))),
                                 static_cast<unsigned>(std::stoul(numbers.substr(colon + 1))));
    found = info;  // later lines lie on top
  }
  return found;
}

Result<std::string> prepare_mount_point(const std::string& path, const std::string& pool) {
  // The last component may be a dead mount, which nothing resolves: resolve its parent.
  std::error_code ec;
  const std::filesystem::path absolute = std::filesystem::absolute(path, ec).lexically_normal();
  std::filesystem::path name = absolute.filename();
  const auto parent = name.empty() ? absolute.parent_path() : absolute;
  std::string resolved = std::filesystem::canonical(parent.parent_path(), ec) / parent.filename();
  if (ec) {
    return fail(ec.value(), fmt::format("mount point {}: {}", path, ec.message()),
                "make the directory first");
  }
  while (const auto mount = find_mount(resolved)) {
    if (mount->type != "fuse.pmemd") break;
    if (!is_dead(resolved)) {
      return fail(EBUSY, fmt::format("mount point {}: a pmemd is mounted there", resolved),
                  "stop that daemon, or use another directory");
    }
    PMEMD_TRY(unmount_path(resolved));
  }
  struct stat st = {};
  if (stat(resolved.c_str(), &st) != 0) {
    return fail_errno(fmt::format("mount point {}", resolved), "make the directory first");
  }
  if (!S_ISDIR(st.st_mode)) {
    return fail(ENOTDIR, fmt::format("mount point {}: not a directory", resolved));
  }
  resolved = std::filesystem::canonical(resolved, ec);
  const std::string real_pool = std::filesystem::weakly_canonical(pool, ec);
  if (is_below(real_pool, resolved)) {
    return fail(EINVAL, fmt::format("mount point {}: the pool {} lies below it", resolved, pool),
                "use a directory beside the pool");
  }
  return resolved;
}

Result<void> unmount_path(const std::string& path) {
  if (geteuid() != 0) return run_fusermount(path);
  if (umount2(path.c_str(), UMOUNT_NOFOLLOW) == 0) return {};
  if (errno == EBUSY && umount2(path.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH) == 0) return {};
  return fail_errno(fmt::format("{}: unmount", path));
}

}  // namespace pmemd
