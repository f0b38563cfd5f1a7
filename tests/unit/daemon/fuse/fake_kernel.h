// The kernel's side of a FUSE session: sends requests over a socket, as /dev/fuse hands them out,
// and takes the replies. No mount, no root.
//
// It does nothing by itself: a test sends each INIT, LOOKUP and FORGET. A wait that would not end
// fails the test after kPatience. A reply that nobody waits for, or a second one, fails it too.
//
// Thread contract: one thread.
#pragma once

#include <linux/fuse.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/unique_fd.h"

namespace pmemd::test {

inline constexpr std::chrono::seconds kPatience{10};

// A structure of the protocol, as it goes over the wire.
template <class T>
std::string bytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}
// A name, with its NUL.
inline std::string name_bytes(std::string_view name) { return std::string(name) + '\0'; }

struct FakeReply {
  int err = 0;  // an errno
  std::string body;

  // The structure at `offset` of the body; zeros where the body ends.
  template <class T>
  T as(size_t offset = 0) const {
    T value{};
    if (offset < body.size()) {
      std::memcpy(&value, body.data() + offset, std::min(sizeof(value), body.size() - offset));
    }
    return value;
  }
};

class FakeKernel {
 public:
  // Whose requests it sends.
  struct Sender {
    uid_t uid = getuid();
    gid_t gid = getgid();
    pid_t pid = getpid();
  };

  FakeKernel();

  // The daemon's end, for FuseServer::create().
  UniqueFd take_connection() { return std::move(daemons_end_); }
  Sender& sender() { return sender_; }

  // The request's unique number.
  uint64_t send(uint32_t opcode, uint64_t nodeid, std::string_view body = {});
  // A message as it is, which need not be a request. `unique`: whose reply may come.
  void send_raw(std::string_view message, uint64_t unique = 0);
  fuse_in_header header(uint32_t opcode, uint64_t nodeid, size_t body_size);

  FakeReply reply_to(uint64_t unique);
  FakeReply call(uint32_t opcode, uint64_t nodeid, std::string_view body = {}) {
    return reply_to(send(opcode, nodeid, body));
  }
  // Whether a reply to it has come, of what can be read now.
  bool has_reply_to(uint64_t unique);
  // The next message that nobody asked for (FUSE_NOTIFY_…): its code, its body.
  FakeReply notification();

  // Nobody can send a reply any more without waiting for us to take those that are there.
  void jam();
  // No reply can be delivered from now on; requests still can be sent.
  void stop_listening();
  // Ends the connection, as an unmount does.
  void hang_up();

 private:
  // Takes a message, if one comes before the deadline.
  bool receive(std::chrono::steady_clock::time_point deadline);

  UniqueFd ours_;
  UniqueFd daemons_end_;
  UniqueFd daemons_end_too_;  // to jam it
  Sender sender_;
  uint64_t last_unique_ = 0;
  std::set<uint64_t> unanswered_;
  std::map<uint64_t, FakeReply> replies_;
  std::vector<FakeReply> notifications_;
  std::string buffer_;
};

}  // namespace pmemd::test
