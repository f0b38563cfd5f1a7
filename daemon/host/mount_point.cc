#include "daemon/host/mount_point.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <thread>

#include "core/base/directory.h"
#include "core/pool/pool_directory.h"

namespace pmemd {
namespace {

constexpr std::chrono::seconds kLockTimeout{5};
constexpr std::chrono::milliseconds kLockInterval{5};  // flock(2) knows no timeout
constexpr int kDeadMountsMax = 100;                    // on top of each other

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

// Whether the connection behind the mount is dead. A dead one returns ENOTCONN at once; but not for
// what the kernel itself knows, such as the attributes of the mount's root.
bool is_dead(const UniqueFd& root) {
  struct statx st = {};
  return statx(root.get(), "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &st) != 0 &&
         (errno == ENOTCONN || errno == ECONNABORTED);
}

bool is_below(const std::string& path, const std::string& directory) {
  return path == directory || path.starts_with(directory == "/" ? directory : directory + "/");
}

std::unexpected<Error> of_mount_point(const std::string& path, Error error) {
  error.message = fmt::format("mount point {}: {}", path, error.message);
  return std::unexpected(std::move(error));
}

}  // namespace

std::optional<MountId> mount_of(const UniqueFd& fd) {
  struct statx st = {};
  if (!fd || statx(fd.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &st) != 0 ||
      (st.stx_mask & STATX_MNT_ID) == 0) {
    return std::nullopt;
  }
  return MountId{st.stx_mnt_id, makedev(st.stx_dev_major, st.stx_dev_minor)};
}

std::unexpected<Error> mount_point_taken(const std::string& path, const MountInfo& by) {
  constexpr std::string_view kSource = "pmemd:";
  const std::string pool = by.source.starts_with(kSource) ? by.source.substr(kSource.size()) : "";
  const int pid = pool.empty() ? 0 : pool_owner(pool);
  const std::string who = pid == 0 ? "a pmemd is" : fmt::format("pmemd with pid {} is", pid);
  return fail(EBUSY, fmt::format("mount point {}: {} mounted there", path, who),
              "stop that daemon, or use another directory");
}

Result<MountPoint> MountPoint::find(const std::string& path, const std::string& pool, Files files) {
  auto entry = find_safe_entry(path, LastLink::kFollow);
  if (!entry) {
    if (entry.error().hint.empty()) entry.error().hint = "make the directory first";
    return of_mount_point(path, std::move(entry).error());
  }
  MountPoint point(*std::move(entry), files);
  Result<void> ready;
  {
    const UniqueFd lock = point.lock();
    ready = point.make_ready();
  }
  std::error_code ignored;
  const std::string real_pool = std::filesystem::weakly_canonical(pool, ignored);
  if (is_below(real_pool, point.path())) {
    return fail(EINVAL,
                fmt::format("mount point {}: the pool {} lies below it", point.path(), pool),
                "use a directory beside the pool");
  }
  PMEMD_TRY(std::move(ready));
  return point;
}

UniqueFd MountPoint::open() const {
  return UniqueFd(openat(entry_.directory.get(), entry_.name.c_str(),
                         O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

std::optional<MountId> MountPoint::topmost() const { return mount_of(open()); }

UniqueFd MountPoint::lock() const {
  UniqueFd fd(openat(entry_.directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return {};
  const auto deadline = std::chrono::steady_clock::now() + kLockTimeout;
  while (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK || std::chrono::steady_clock::now() > deadline) return {};
    std::this_thread::sleep_for(kLockInterval);
  }
  return fd;
}

Result<void> MountPoint::make_ready() const {
  for (int i = 0; i < kDeadMountsMax; ++i) {
    const UniqueFd root = open();
    if (!root) {
      if (errno == ENOTDIR || errno == ELOOP) {
        return fail(ENOTDIR, fmt::format("mount point {}: not a directory", path_));
      }
      return fail_errno(fmt::format("mount point {}", path_), "make the directory first");
    }
    const auto id = mount_of(root);
    if (!id) return fail(ENOSYS, path_ + ": the kernel doesn't tell mounts (Linux 5.8 does)");
    const auto table = read_mount_table();
    const MountInfo* const mount = find_mount_id(table, id->id);
    if (mount == nullptr || mount->point != path_ || mount->type != "fuse.pmemd") {
      auto safe = open_safe_directory(entry_);
      if (!safe) return of_mount_point(path_, std::move(safe).error());
      if (mount_of(*safe) != id) continue;  // somebody has mounted or unmounted there meanwhile
      return files_ == Files::kNone ? check_empty(*safe) : Result<void>();
    }
    // Another user's mount is never ours, dead or not; don't ask its server.
    if (fuse_owner(*mount) != geteuid()) {
      auto safe = open_safe_directory(entry_);
      if (!safe) return of_mount_point(path_, std::move(safe).error());
      return mount_point_taken(path_, *mount);
    }
    if (!is_dead(root)) return mount_point_taken(path_, *mount);
    if (auto gone = unmount(*id); !gone && gone.err() != ESTALE) return gone;
  }
  return fail(EBUSY, fmt::format("mount point {}: too many dead mounts", path_));
}

Result<void> MountPoint::check_empty(const UniqueFd& directory) const {
  auto name = any_name_in(directory, path_);
  if (!name) {
    name.error().hint = "so it may hold files: make it readable, or use --nonempty";
    return of_mount_point(path_, std::move(name).error());
  }
  if (!*name) return {};
  return fail(ENOTEMPTY, fmt::format("mount point {}: not empty: {} is in it", path_, **name),
              "use an empty directory; --nonempty mounts over it: its files are hidden until pmemd "
              "ends");
}

Result<void> MountPoint::unmount(const MountId& mount) const {
  if (topmost() != mount) return fail(ESTALE, path_ + ": something else is mounted there");
  if (geteuid() != 0) return run_fusermount(path_);
  if (umount2(path_.c_str(), UMOUNT_NOFOLLOW) == 0) return {};
  if (errno == EBUSY && umount2(path_.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH) == 0) return {};
  return fail_errno(fmt::format("{}: unmount", path_));
}

}  // namespace pmemd
