#include "daemon/control/socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstring>
#include <utility>

namespace pmemd {

namespace {

constexpr size_t kSuffixMax = 2;  // ".1"; a longer pid's suffix is checked once it is known

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address = {};
  assert(path.size() < sizeof(address.sun_path));
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

UniqueFd unix_socket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

enum class Found { kNothing, kAlive, kStale, kOther };

Found probe(const SafeEntry& entry) {
  struct stat info = {};
  if (::fstatat(entry.directory.get(), entry.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT ? Found::kNothing : Found::kOther;
  }
  if (!S_ISSOCK(info.st_mode)) return Found::kOther;
  const UniqueFd client = unix_socket();
  const sockaddr_un address = address_of(entry.path());
  if (!client) return Found::kAlive;  // unknown, so it stays
  if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return Found::kAlive;
  }
  if (errno == ENOENT) return Found::kNothing;
  return errno == ECONNREFUSED ? Found::kStale : Found::kAlive;
}

int rename_with(const SafeEntry& directory, const std::string& from, const std::string& to,
                unsigned flags) {
  const int fd = directory.directory.get();
  return ::renameat2(fd, from.c_str(), fd, to.c_str(), flags) == 0 ? 0 : errno;
}

std::unexpected<Error> in_use(const std::string& path) {
  return fail(EADDRINUSE, fmt::format("{}: another daemon answers there", path),
              "stop it, or name another socket with --socket");
}

// Puts the listening socket `fresh` in place; replaces at most a dead daemon's.
Result<void> publish(const SafeEntry& entry, const SafeEntry& fresh) {
  const std::string path = entry.path();
  while (true) {
    const int err = rename_with(entry, fresh.name, entry.name, RENAME_NOREPLACE);
    if (err == 0) return {};
    if (err != EEXIST) return fail(err, fmt::format("{}: {}", path, strerror(err)));
    switch (probe(entry)) {
      case Found::kNothing:
        continue;  // gone meanwhile
      case Found::kAlive:
        return in_use(path);
      case Found::kOther:
        return fail(EEXIST, fmt::format("{}: is not a socket", path),
                    "remove it, or name another socket with --socket");
      case Found::kStale:
        break;
    }
    const int exchanged = rename_with(entry, fresh.name, entry.name, RENAME_EXCHANGE);
    if (exchanged == EPERM || exchanged == EACCES) {
      return fail(exchanged, fmt::format("{}: a dead socket of another user", path),
                  "remove it, or name another socket with --socket");
    }
    if (exchanged != 0) continue;
    if (probe(fresh) != Found::kAlive) {
      ::unlinkat(entry.directory.get(), fresh.name.c_str(), 0);
      return {};
    }
    // Another daemon was as quick: we took out its new socket.
    (void)rename_with(entry, fresh.name, entry.name, RENAME_EXCHANGE);
    return in_use(path);
  }
}

// Ignores the umask: the socket's own mode decides who may connect.
Result<void> make_directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) return {};
  PMEMD_ASSIGN(const SafeEntry entry,
               find_safe_entry(path.substr(0, slash), LastLink::kFollow, Missing::kMake));
  if (::mkdirat(entry.directory.get(), entry.name.c_str(), 0755) != 0) {
    if (errno == EEXIST) return {};
    return fail_errno(entry.path(), "make the directory, or name another socket with --socket");
  }
  const UniqueFd made(::openat(entry.directory.get(), entry.name.c_str(),
                               O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!made || ::fchmod(made.get(), 0755) != 0) return fail_errno(entry.path());
  return {};
}

std::optional<gid_t> find_group(const std::string& name) {
  if (name.empty()) return std::nullopt;
  const group* found = ::getgrnam(name.c_str());  // NOLINT(concurrency-mt-unsafe): at start only
  return found == nullptr ? std::nullopt : std::optional(found->gr_gid);
}

}  // namespace

bool Peer::is_member(gid_t group) const {
  return gid == group || std::find(groups.begin(), groups.end(), group) != groups.end();
}

Result<Peer> peer_of(int fd) {
  ucred credentials = {};
  socklen_t size = sizeof(credentials);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return fail_errno("peer credentials");
  }
  Peer peer{credentials.uid, credentials.gid, credentials.pid, {}};
  size = 0;
  while (::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer.groups.data(), &size) != 0) {
    if (errno != ERANGE) return fail_errno("peer groups");
    peer.groups.resize(size / sizeof(gid_t));  // the kernel told how many there are
  }
  peer.groups.resize(size / sizeof(gid_t));
  return peer;
}

Result<ControlSocket> ControlSocket::listen(const std::string& path, const std::string& group,
                                            mode_t mode) {
  if (path.size() + kSuffixMax >= sizeof(sockaddr_un::sun_path)) {
    return fail(ENAMETOOLONG, fmt::format("{}: too long for a socket", path));
  }
  PMEMD_TRY(make_directory_of(path));
  PMEMD_ASSIGN(SafeEntry entry, find_safe_entry(path, LastLink::kKeep));
  SafeEntry fresh{UniqueFd(::fcntl(entry.directory.get(), F_DUPFD_CLOEXEC, 0)),
                  entry.directory_path, fmt::format("{}.{}", entry.name, ::getpid())};
  if (fresh.path().size() >= sizeof(sockaddr_un::sun_path)) {
    return fail(ENAMETOOLONG, fmt::format("{}: too long for a socket", fresh.path()));
  }
  const int directory = entry.directory.get();

  ControlSocket socket;
  socket.path_ = path;
  socket.fd_ = unix_socket();
  if (!socket.fd_) return fail_errno(path);
  // The mode of the file that bind() creates: nobody can connect before it is set up.
  if (::fchmod(socket.fd(), 0600) != 0) return fail_errno(path);
  ::unlinkat(directory, fresh.name.c_str(), 0);  // left by a dead daemon that had our pid
  const sockaddr_un address = address_of(fresh.path());
  if (::bind(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return fail_errno(path);
  }
  const auto set_up = [&]() -> Result<void> {
    socket.group_ = find_group(group);
    if (socket.group_ &&
        ::fchownat(directory, fresh.name.c_str(), -1, *socket.group_, AT_SYMLINK_NOFOLLOW) != 0) {
      socket.group_.reset();
    }
    const mode_t wanted = socket.group_ ? mode : mode & ~mode_t{070};
    if (::fchmodat(directory, fresh.name.c_str(), wanted, 0) != 0) return fail_errno(path);
    struct stat info = {};
    if (::fstatat(directory, fresh.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      return fail_errno(path);
    }
    socket.device_ = info.st_dev;
    socket.inode_ = info.st_ino;
    if (::listen(socket.fd(), SOMAXCONN) != 0) return fail_errno(path);
    return publish(entry, fresh);
  };
  if (auto done = set_up(); !done) {
    ::unlinkat(directory, fresh.name.c_str(), 0);
    return std::unexpected(done.error());
  }
  socket.entry_ = std::move(entry);
  socket.removed_ = false;
  return socket;
}

ControlSocket::ControlSocket(ControlSocket&& other) noexcept
    : path_(std::move(other.path_)),
      entry_(std::move(other.entry_)),
      fd_(std::move(other.fd_)),
      group_(other.group_),
      device_(other.device_),
      inode_(other.inode_),
      removed_(std::exchange(other.removed_, true)) {}

void ControlSocket::remove() {
  if (std::exchange(removed_, true)) return;
  struct stat info = {};
  const int directory = entry_.directory.get();
  if (::fstatat(directory, entry_.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
      info.st_dev == device_ && info.st_ino == inode_) {
    ::unlinkat(directory, entry_.name.c_str(), 0);
  }
}

}  // namespace pmemd
