// A connection to the daemon's control socket.
//
// Every failure is a VarlinkError, like the daemon's own error replies: both print the same way.
//
// Thread contract: one thread.
#pragma once

#include <chrono>
#include <expected>
#include <string>

#include "core/base/unique_fd.h"
#include "core/control/varlink.h"

namespace pmemd::cli {

// What to do about a daemon that can't be found, or doesn't let us in.
inline constexpr const char* kNoDaemonHint =
    "start one: pmemd --pool DIR --mount DIR; or name its socket with --socket";
inline constexpr const char* kNotLetInHint =
    "be root, the daemon's user or a member of the socket's group";

class Client {
 public:
  // A call fails with "errno" EINTR if `stop_fd` becomes readable while it waits.
  static std::expected<Client, VarlinkError> connect(const std::string& path, int stop_fd);

  // From now on a reply that takes longer is ETIMEDOUT; else it is waited for as long as it takes.
  void wait_at_most(std::chrono::milliseconds timeout) {
    timeout_ms_ = static_cast<int>(timeout.count());
  }

  // Sends the call and waits for its (first) reply.
  std::expected<Json, VarlinkError> call(const Call& call);

  // The next reply to a call with "more".
  std::expected<Json, VarlinkError> next_reply();
  bool continues() const { return continues_; }  // more replies to the last call follow

 private:
  Client(std::string path, UniqueFd fd, int stop_fd)
      : path_(std::move(path)), fd_(std::move(fd)), stop_fd_(stop_fd) {}
  Result<void> send(std::string_view bytes);
  Result<std::string> receive();
  Result<void> wait_for(short events);

  std::string path_;
  UniqueFd fd_;
  int stop_fd_;
  int timeout_ms_ = -1;
  bool continues_ = false;
  MessageSplitter replies_{size_t{256} << 20};  // a daemon is trusted, within reason
};

}  // namespace pmemd::cli
