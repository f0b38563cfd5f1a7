#include "daemon/control_socket.h"

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

Found probe(const std::string& path) {
  struct stat info = {};
  if (::lstat(path.c_str(), &info) != 0) return errno == ENOENT ? Found::kNothing : Found::kOther;
  if (!S_ISSOCK(info.st_mode)) return Found::kOther;
  const UniqueFd client = unix_socket();
  const sockaddr_un address = address_of(path);
  if (!client) return Found::kAlive;  // can't tell, so it stays
  if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return Found::kAlive;
  }
  if (errno == ENOENT) return Found::kNothing;
  return errno == ECONNREFUSED ? Found::kStale : Found::kAlive;
}

int rename_with(const std::string& from, const std::string& to, unsigned flags) {
  return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0 ? 0 : errno;
}

std::unexpected<Error> in_use(const std::string& path) {
  return fail(EADDRINUSE, fmt::format("{}: another daemon answers there", path),
              "stop it, or name another socket with --socket");
}

// Puts the listening socket at `fresh` in place, over a dead daemon's at most.
Result<void> publish(const std::string& fresh, const std::string& path) {
  while (true) {
    const int err = rename_with(fresh, path, RENAME_NOREPLACE);
    if (err == 0) return {};
    if (err != EEXIST) return fail(err, fmt::format("{}: {}", path, strerror(err)));
    switch (probe(path)) {
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
    if (rename_with(fresh, path, RENAME_EXCHANGE) != 0) continue;
    if (probe(fresh) != Found::kAlive) {
      ::unlink(fresh.c_str());
      return {};
    }
    // Another daemon was as quick as we: what we took out was its new one.
    (void)rename_with(fresh, path, RENAME_EXCHANGE);
    return in_use(path);
  }
}

Result<void> make_directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) return {};
  const std::string directory = path.substr(0, slash);
  if (::mkdir(directory.c_str(), 0755) != 0) {
    if (errno == EEXIST) return {};
    return fail_errno(directory, "make the directory, or name another socket with --socket");
  }
  // Whatever the umask: whether one may connect is the socket's own mode to say.
  if (::chmod(directory.c_str(), 0755) != 0) return fail_errno(directory);
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
  const std::string fresh = fmt::format("{}.{}", path, ::getpid());
  if (fresh.size() >= sizeof(sockaddr_un::sun_path)) {
    return fail(ENAMETOOLONG, fmt::format("{}: too long for a socket", path));
  }
  PMEMD_TRY(make_directory_of(path));

  ControlSocket socket;
  socket.path_ = path;
  socket.fd_ = unix_socket();
  if (!socket.fd_) return fail_errno(path);
  // The mode of the file that bind() makes: nobody can connect before it is set up.
  if (::fchmod(socket.fd(), 0600) != 0) return fail_errno(path);
  ::unlink(fresh.c_str());  // of a dead daemon with our pid
  const sockaddr_un address = address_of(fresh);
  if (::bind(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return fail_errno(path);
  }
  const auto set_up = [&]() -> Result<void> {
    socket.group_ = find_group(group);
    if (socket.group_ && ::chown(fresh.c_str(), -1, *socket.group_) != 0) socket.group_.reset();
    const mode_t wanted = socket.group_ ? mode : mode & ~mode_t{070};
    if (::chmod(fresh.c_str(), wanted) != 0) return fail_errno(path);
    struct stat info = {};
    if (::stat(fresh.c_str(), &info) != 0) return fail_errno(path);
    socket.device_ = info.st_dev;
    socket.inode_ = info.st_ino;
    if (::listen(socket.fd(), SOMAXCONN) != 0) return fail_errno(path);
    return publish(fresh, path);
  };
  if (auto done = set_up(); !done) {
    ::unlink(fresh.c_str());
    return std::unexpected(done.error());
  }
  socket.removed_ = false;
  return socket;
}

ControlSocket::ControlSocket(ControlSocket&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::move(other.fd_)),
      group_(other.group_),
      device_(other.device_),
      inode_(other.inode_),
      removed_(std::exchange(other.removed_, true)) {}

void ControlSocket::remove() {
  if (std::exchange(removed_, true)) return;
  struct stat info = {};
  if (::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

}  // namespace pmemd
