// The kernel's side of a FUSE session: sends requests over a socket, in the format of /dev/fuse,
// and takes the replies. Needs no mount and no root.
//
// It does nothing by itself: a test sends each INIT, LOOKUP and FORGET. A wait that doesn't end
// within kPatience fails the test. A reply to no request, or a second one, fails it too.
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

  // The structure at `offset` of the body; zeros past the body's end.
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
  // The process that requests come from.
  struct Sender {
    uid_t uid = getuid();
    gid_t gid = getgid();
    pid_t pid = getpid();
  };

  FakeKernel();

  // The daemon's end, for FuseServer::create().
  UniqueFd take_connection() { return std::move(daemons_end_); }
  Sender& sender() { return sender_; }

  // Returns the request's unique number.
  uint64_t send(uint32_t opcode, uint64_t nodeid, std::string_view body = {});
  // Sends the message as it is; it need not be a request. `unique`: a reply to it is expected.
  void send_raw(std::string_view message, uint64_t unique = 0);
  fuse_in_header header(uint32_t opcode, uint64_t nodeid, size_t body_size);

  FakeReply reply_to(uint64_t unique);
  FakeReply call(uint32_t opcode, uint64_t nodeid, std::string_view body = {}) {
    return reply_to(send(opcode, nodeid, body));
  }
  // Reads what can be read now; whether a reply to `unique` has come.
  bool has_reply_to(uint64_t unique);
  // The next notification (FUSE_NOTIFY_…): its code and body.
  FakeReply notification();

  // Fills the connection: replies now block until we take those that are there.
  void jam();
  // From now on no reply can be delivered; requests can still be sent.
  void stop_listening();
  // Ends the connection, as an unmount does.
  void hang_up();

 private:
  // Takes a message, if one comes before the deadline; else false.
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
