#include "daemon/control/connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "core/base/memory.h"

namespace pmemd {

Result<void> ControlConnection::receive() {
  std::array<char, 16 * 1024> buffer;
  while (const size_t room = std::min(input_.room(), buffer.size())) {
    const ssize_t got = ::recv(fd(), buffer.data(), room, MSG_DONTWAIT);
    if (got > 0) {
      input_.append({buffer.data(), static_cast<size_t>(got)});
    } else if (got == 0) {
      input_ended_ = true;
      return {};
    } else if (errno != EINTR) {
      return errno == EAGAIN ? Result<void>() : fail(errno);
    }
  }
  return {};
}

void ControlConnection::send(std::string reply) {
  const MustAllocate done;  // the reply reports something already done
  output_.push_back(std::make_shared<const std::string>(std::move(reply)));
}

void ControlConnection::send_event(const Event& event) {
  // A burst may fill the queue of a peer that reads well: first make room by writing to its socket.
  if (missed_ == 0 && output_.size() >= max_queued_events_) (void)flush();
  // Once one is lost, the following ones are lost, too, until the loss is reported: one gap.
  if (missed_ > 0 || output_.size() >= max_queued_events_) {
    ++missed_;
  } else {
    try {
      output_.push_back(event);
    } catch (const std::bad_alloc&) {
      ++missed_;
    }
  }
}

void ControlConnection::tell_missed() {
  if (missed_ == 0 || output_.size() > max_queued_events_ / 2) return;
  send(encode(Reply{{{"missed", std::exchange(missed_, 0)}}, /*continues=*/true, {}}));
}

Result<void> ControlConnection::flush() {
  for (tell_missed(); !output_.empty(); tell_missed()) {
    const std::string& front = *output_.front();
    const ssize_t put =
        ::send(fd(), front.data() + written_, front.size() - written_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN ? Result<void>() : fail(errno);
    }
    written_ += static_cast<size_t>(put);
    if (written_ == front.size()) {
      output_.pop_front();
      written_ = 0;
    }
  }
  return {};
}

}  // namespace pmemd
