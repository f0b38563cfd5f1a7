// A connection to the daemon's control socket.
//
// Whatever goes wrong is a VarlinkError, as the daemon's own answers are: one way to print both.
//
// Thread contract: one thread.
#pragma once

#include <expected>
#include <string>

#include "core/base/unique_fd.h"
#include "core/control/varlink.h"

namespace pmemd::cli {

class Client {
 public:
  // EINTR in an error's "errno": `stop_fd` became readable while we waited.
  static std::expected<Client, VarlinkError> connect(const std::string& path, int stop_fd);

  // Sends the call and waits for its (first) reply, as long as the daemon takes.
  std::expected<Json, VarlinkError> call(const Call& call);

  // The next reply to a call with "more".
  std::expected<Json, VarlinkError> next_reply();
  bool continues() const { return continues_; }  // the last reply wasn't the last to its call

 private:
  Client(std::string path, UniqueFd fd, int stop_fd)
      : path_(std::move(path)), fd_(std::move(fd)), stop_fd_(stop_fd) {}
  Result<void> send(std::string_view bytes);
  Result<std::string> receive();
  Result<void> wait_for(short events);

  std::string path_;
  UniqueFd fd_;
  int stop_fd_;
  bool continues_ = false;
  MessageSplitter replies_{size_t{256} << 20};  // a daemon is trusted, within reason
};

}  // namespace pmemd::cli
