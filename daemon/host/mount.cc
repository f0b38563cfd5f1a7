#include "daemon/host/mount.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

namespace pmemd {
namespace {

std::unexpected<Error> no_mount(const MountPoint& point) {
  return fail_errno(fmt::format("mount point {}: could not be mounted", point.path()));
}

// --- as root

// A mount that isn't attached yet. Root's honours suid bits and device nodes, as a disk's does.
Result<UniqueFd> make_detached(const MountPoint& point, int connection,
                               const MountOptions& options) {
  const UniqueFd context(fsopen("fuse", FSOPEN_CLOEXEC));
  if (!context) return no_mount(point);
  const auto set = [&](const char* key, const std::string& value) {
    return fsconfig(context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0) == 0;
  };
  const auto set_flag = [&](const char* key) {
    return fsconfig(context.get(), FSCONFIG_SET_FLAG, key, nullptr, 0) == 0;
  };
  if (!set("source", options.source) || !set("subtype", "pmemd") ||
      !set("fd", fmt::format("{}", connection)) || !set("rootmode", "40000") ||
      !set("user_id", fmt::format("{}", geteuid())) ||
      !set("group_id", fmt::format("{}", getegid())) || !set_flag("default_permissions") ||
      (options.allow_other && !set_flag("allow_other")) ||
      fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return no_mount(point);
  }
  UniqueFd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
  if (!mount) return no_mount(point);
  return mount;
}

bool attach(const UniqueFd& mount, const MountPoint& point) {
  const UniqueFd onto = point.open();
  return onto && move_mount(mount.get(), "", onto.get(), "",
                            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0;
}

Result<MountId> mount_as_root(const MountPoint& point, const UniqueFd& connection,
                              const MountOptions& options) {
  PMEMD_ASSIGN(const UniqueFd mount, make_detached(point, connection.get(), options));
  if (!attach(mount, point)) return no_mount(point);
  const auto id = mount_of(mount);
  if (!id) return fail(ENOSYS, point.path() + ": the kernel doesn't tell mounts (Linux 5.8 does)");
  return *id;
}

// --- by fusermount3

// A comma would end the option.
std::string fusermount_options(const MountOptions& options) {
  std::string source;
  for (const char c : options.source) {
    if (c == ',' || c == '\\') source += '\\';
    source += c;
  }
  return fmt::format("fsname={},subtype=pmemd,default_permissions{}", source,
                     options.allow_other ? ",allow_other" : "");
}

// The descriptor that fusermount3 sends; nothing, if it ends without sending one.
UniqueFd receive_descriptor(const UniqueFd& socket) {
  char byte = 0;
  iovec data{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = 0;
  while ((got = recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  const cmsghdr* const header = got > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return {};
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
  return UniqueFd(fd);
}

Result<UniqueFd> run_fusermount(const MountPoint& point, const MountOptions& options) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return no_mount(point);
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  std::string program = "fusermount3", o = "-o", text = fusermount_options(options), end = "--";
  std::string target = point.path();
  std::array<char*, 6> argv = {program.data(), o.data(),      text.data(),
                               end.data(),     target.data(), nullptr};
  std::string variable = fmt::format("_FUSE_COMMFD={}", theirs.get());
  std::vector<char*> env = {variable.data()};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with("_FUSE_COMMFD=")) env.push_back(*entry);
  }
  env.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), theirs.get());  // it stays open
  pid_t pid = 0;
  const int err = posix_spawnp(&pid, program.c_str(), &actions, nullptr, argv.data(), env.data());
  posix_spawn_file_actions_destroy(&actions);
  if (err != 0) return fail(err, "fusermount3: can't be run", "install the package fuse3");
  theirs.reset();
  UniqueFd connection = receive_descriptor(ours);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (connection && WIFEXITED(status) && WEXITSTATUS(status) == 0) return connection;
  return fail(EIO, fmt::format("mount point {}: could not be mounted", point.path()),
              "fusermount3's own message is above; see /etc/fuse.conf for --allow-other");
}

// --- both

// The mount that `mount` lies on, if that is on the same mount point.
const MountInfo* mount_below(const std::vector<MountInfo>& table, const MountInfo& mount) {
  const MountInfo* const below = find_mount_id(table, mount.parent_id);
  return below != nullptr && below->point == mount.point ? below : nullptr;
}

const MountInfo* find_mount(const std::vector<MountInfo>& table, MountId id) {
  const MountInfo* const mount = find_mount_id(table, id.id);
  return mount != nullptr && mount->device_number == id.device_number ? mount : nullptr;
}

// The mount that fusermount3 made; the last one in the kernel's list is the newest.
MountId find_own(const MountPoint& point, const MountOptions& options) {
  MountId id;
  for (const MountInfo& mount : read_mount_table()) {
    if (mount.point == point.path() && mount.type == "fuse.pmemd" &&
        mount.source == options.source && fuse_owner(mount) == geteuid()) {
      id = {mount.id, mount.device_number};
    }
  }
  return id;
}

// Enforces invariant 1 where the lock didn't help.
Result<void> check_alone(const MountPoint& point, MountId id) {
  const auto table = read_mount_table();
  const MountInfo* const mount = find_mount(table, id);
  if (mount == nullptr) {
    return fail(
        EBUSY,
        fmt::format("mount point {}: taken away again, with another pmemd that was mounted there",
                    point.path()));
  }
  const MountInfo* const below = mount_below(table, *mount);
  if (below == nullptr || below->type != "fuse.pmemd") return {};
  return mount_point_taken(point.path(), *below);
}

// Unmounts each mount on top of `id`, topmost first, and keeps a copy; then unmounts `id`; then
// puts the copies back.
Result<void> unmount_below(const MountPoint& point, MountId id, size_t covers) {
  const auto topmost = point.topmost();
  if (!topmost || *topmost == id) return point.unmount(id);
  const auto failed = [&](const char* what) {
    return fail(errno,
                fmt::format("{}: another file system is mounted over it, and can't be {}: {}",
                            point.path(), what, std::strerror(errno)));
  };
  if (covers == 0) return fail(ESTALE, point.path() + ": mounts are changing");
  const UniqueFd root = point.open();
  const UniqueFd copy(open_tree(
      root.get(), "", AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!copy) return failed("mounted again");
  PMEMD_TRY(point.unmount(*topmost));
  auto result = unmount_below(point, id, covers - 1);
  if (!attach(copy, point)) return failed("put back");
  return result;
}

}  // namespace

Result<Mount> Mount::make(const MountPoint& point, const MountOptions& options) {
  const UniqueFd lock = point.lock();
  PMEMD_TRY(point.make_ready());
  UniqueFd connection(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!connection) {
    return fail_errno("/dev/fuse", "load the module fuse, or give this user access to the device");
  }
  MountId id;
  if (geteuid() == 0) {
    PMEMD_ASSIGN(id, mount_as_root(point, connection, options));
  } else {
    PMEMD_ASSIGN(connection, run_fusermount(point, options));
    id = find_own(point, options);
  }
  Mount mount(std::move(connection), id, options.source);
  if (auto alone = check_alone(point, id); !alone) {
    mount.connection_.reset();
    if (point.topmost() == id) (void)point.unmount(id);
    return std::unexpected(std::move(alone).error());
  }
  return mount;
}

Result<void> Mount::unmount(const MountPoint& point) const {
  const UniqueFd lock = point.lock();
  auto table = read_mount_table();
  const MountInfo* const mount = find_mount(table, id_);
  Result<void> result;
  if (mount != nullptr && geteuid() == 0) {
    // The mounts on top of it, and on top of those, …
    size_t covers = 0;
    for (const MountInfo* above = mount; above != nullptr; ++covers) {
      const auto next = std::ranges::find_if(table, [&](const MountInfo& other) {
        return other.parent_id == above->id && other.point == above->point;
      });
      above = next == table.end() ? nullptr : &*next;
    }
    result = unmount_below(point, id_, covers - 1);
  } else if (mount != nullptr) {
    result = point.unmount(id_);
  }
  table = read_mount_table();
  const auto left = std::ranges::find_if(table, [this](const MountInfo& other) {
    // The number may by now belong to somebody else's new super block.
    return other.device_number == id_.device_number && other.source == source_;
  });
  if (left == table.end()) return result;
  return fail(EBUSY,
              fmt::format("{}: a mount of this daemon is left there, dead{}", left->point,
                          result ? "" : ": " + result.error().describe()),
              fmt::format("'umount {}'", left->point));
}

}  // namespace pmemd
