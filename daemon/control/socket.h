// The control socket in the file system, and the peers that connect to it.
//
// Invariants:
//  1. A socket at its path listens: it is bound and prepared under another name, and then put there
//     in one step. So a socket that refuses connections belongs to a dead daemon.
//  2. A living daemon's socket is never replaced, and a file that isn't a socket is never touched.
//  3. Nobody else can change the path to it (core/base/safe_path.h), so that the file which is
//     bound, chowned and chmodded is the socket. Its directory may be a sticky one, such as /tmp.
//
// Thread contract: values; no shared state.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/safe_path.h"
#include "core/base/unique_fd.h"

namespace pmemd {

// The process that connected, as the kernel recorded it then.
struct Peer {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  std::vector<gid_t> groups;  // supplementary ones

  bool is_member(gid_t group) const;
};

// The peer of a connected unix socket.
Result<Peer> peer_of(int fd);

// A listening socket in the file system; the destructor removes it.
class ControlSocket {
 public:
  // Binds `path` with `mode`; if `group` exists, the socket belongs to it; else the group's bits
  // are removed from the mode. Creates its directory (0755), and those above, if they are missing.
  // EADDRINUSE: another daemon answers there. EEXIST: something else is there, such as a link.
  // ENAMETOOLONG. EPERM: somebody else could change the path to it, or has a dead socket there.
  static Result<ControlSocket> listen(const std::string& path, const std::string& group,
                                      mode_t mode);
  ControlSocket(ControlSocket&& other) noexcept;
  ControlSocket& operator=(ControlSocket&&) = delete;
  ~ControlSocket() { remove(); }

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  // The group that owns it; nothing if there is no group with that name.
  std::optional<gid_t> group() const { return group_; }

  // Removes it from the file system, unless another daemon has put its own there. Idempotent.
  void remove();

 private:
  ControlSocket() = default;

  std::string path_;
  SafeEntry entry_;
  UniqueFd fd_;
  std::optional<gid_t> group_;
  dev_t device_ = 0;  // of our own file
  ino_t inode_ = 0;
  bool removed_ = true;
};

}  // namespace pmemd
