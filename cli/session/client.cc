#include "cli/session/client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>

namespace pmemd::cli {

namespace {

Error cannot_connect(const std::string& path, int err) {
  switch (err) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED:
      return fail(err, path + ": no daemon answers", kNoDaemonHint).error();
    case EACCES:
    case EPERM:
      return fail(err, path + ": permission denied", kNotLetInHint).error();
    default:
      return fail(err, fmt::format("{}: {}", path, strerror(err))).error();
  }
}

}  // namespace

std::expected<Client, VarlinkError> Client::connect(const std::string& path, int stop_fd) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return std::unexpected(failed(cannot_connect(path, ENAMETOOLONG)));
  }
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd ||
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return std::unexpected(failed(cannot_connect(path, errno)));
  }
  return Client(path, std::move(fd), stop_fd);
}

std::expected<Json, VarlinkError> Client::call(const Call& call) {
  // The daemon replies to a refused client and closes: sending fails, but the reply can be read.
  const Result<void> sent = send(encode(call));
  if (!sent && sent.err() != EPIPE && sent.err() != ECONNRESET) {
    return std::unexpected(failed(sent.error()));
  }
  return next_reply();
}

std::expected<Json, VarlinkError> Client::next_reply() {
  const Result<std::string> message = receive();
  if (!message) return std::unexpected(failed(message.error()));
  Result<Reply> reply = parse_reply(*message);
  if (!reply) return std::unexpected(failed(reply.error()));
  continues_ = reply->continues;
  if (!reply->error.empty()) {
    return std::unexpected(VarlinkError{reply->error, std::move(reply->parameters)});
  }
  return std::move(reply->parameters);
}

Result<void> Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    PMEMD_TRY(wait_for(POLLOUT));
    const ssize_t put = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put < 0) {
      if (errno == EINTR) continue;
      return fail_errno(path_);
    }
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return {};
}

Result<std::string> Client::receive() {
  std::array<char, 64 * 1024> buffer;
  while (true) {
    PMEMD_ASSIGN(auto message, replies_.next());
    if (message) return *std::move(message);
    PMEMD_TRY(wait_for(POLLIN));
    const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (got > 0) {
      replies_.append({buffer.data(), static_cast<size_t>(got)});
    } else if (got == 0 || errno == ECONNRESET) {
      return fail(ECONNRESET, path_ + ": the daemon ended");
    } else if (errno != EINTR) {
      return fail_errno(path_);
    }
  }
}

Result<void> Client::wait_for(short events) {
  std::array<pollfd, 2> fds = {{{fd_.get(), events, 0}, {stop_fd_, POLLIN, 0}}};
  int ready = 0;
  while ((ready = ::poll(fds.data(), fds.size(), timeout_ms_)) < 0) {
    if (errno != EINTR) return fail_errno("poll");
  }
  if (ready == 0) return fail(ETIMEDOUT, path_ + ": the daemon doesn't answer");
  if (fds[1].revents != 0) return fail(EINTR, "interrupted", "the daemon goes on with it");
  return {};
}

}  // namespace pmemd::cli
