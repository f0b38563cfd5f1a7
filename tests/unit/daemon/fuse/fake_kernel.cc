#include "tests/unit/daemon/fuse/fake_kernel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

namespace pmemd::test {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr size_t kMaxReply = 2U << 20;
// What jam() sends: shorter than any reply.
constexpr char kFiller = 'x';

}  // namespace

FakeKernel::FakeKernel() : buffer_(kMaxReply, '\0') {
  std::signal(SIGPIPE, SIG_IGN);  // as the daemon does
  std::array<int, 2> ends{-1, -1};
  // Keeps the borders of messages, as /dev/fuse does.
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
  ours_.reset(ends[0]);
  daemons_end_.reset(ends[1]);
  daemons_end_too_.reset(fcntl(ends[1], F_DUPFD_CLOEXEC, 0));
}

fuse_in_header FakeKernel::header(uint32_t opcode, uint64_t nodeid, size_t body_size) {
  last_unique_ += 2;  // fs/fuse/dev.c FUSE_REQ_ID_STEP; the odd ones are INTERRUPTs'
  return {.len = static_cast<uint32_t>(sizeof(fuse_in_header) + body_size),
          .opcode = opcode,
          .unique = last_unique_,
          .nodeid = nodeid,
          .uid = sender_.uid,
          .gid = sender_.gid,
          .pid = static_cast<uint32_t>(sender_.pid),
          .total_extlen = 0,
          .padding = 0};
}

uint64_t FakeKernel::send(uint32_t opcode, uint64_t nodeid, std::string_view body) {
  const fuse_in_header head = header(opcode, nodeid, body.size());
  const bool wants_reply = opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET;
  send_raw(bytes(head).append(body), wants_reply ? head.unique : 0);
  return head.unique;
}

void FakeKernel::send_raw(std::string_view message, uint64_t unique) {
  if (unique != 0) unanswered_.insert(unique);
  const ssize_t sent = ::send(ours_.get(), message.data(), message.size(), MSG_DONTWAIT);
  EXPECT_EQ(sent, static_cast<ssize_t>(message.size())) << std::strerror(errno);
}

bool FakeKernel::receive(steady_clock::time_point deadline) {
  const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
  pollfd ready = {.fd = ours_.get(), .events = POLLIN, .revents = 0};
  if (poll(&ready, 1, static_cast<int>(std::max<int64_t>(left.count(), 0))) != 1) return false;
  const ssize_t got = recv(ours_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (got <= 0) return false;  // the daemon's end is closed
  const auto size = static_cast<size_t>(got);
  if (size == sizeof(kFiller)) return true;
  fuse_out_header head = {};
  std::memcpy(&head, buffer_.data(), std::min(size, sizeof(head)));
  EXPECT_EQ(head.len, size);
  if (size < sizeof(head)) return true;
  std::string body = buffer_.substr(sizeof(head), size - sizeof(head));
  if (head.unique == 0) {
    notifications_.push_back({head.error, std::move(body)});
  } else {
    EXPECT_EQ(unanswered_.erase(head.unique), 1U) << "a reply to " << head.unique;
    replies_[head.unique] = {-head.error, std::move(body)};
  }
  return true;
}

FakeReply FakeKernel::reply_to(uint64_t unique) {
  const auto deadline = steady_clock::now() + kPatience;
  while (!replies_.contains(unique)) {
    if (receive(deadline)) continue;
    ADD_FAILURE() << "no reply to " << unique;
    return {.err = ETIMEDOUT, .body = {}};
  }
  return std::move(replies_.extract(unique).mapped());
}

bool FakeKernel::has_reply_to(uint64_t unique) {
  while (receive(steady_clock::now())) {
  }
  return replies_.contains(unique);
}

FakeReply FakeKernel::notification() {
  const auto deadline = steady_clock::now() + kPatience;
  while (notifications_.empty()) {
    if (receive(deadline)) continue;
    ADD_FAILURE() << "no notification";
    return {.err = ETIMEDOUT, .body = {}};
  }
  FakeReply first = std::move(notifications_.front());
  notifications_.erase(notifications_.begin());
  return first;
}

void FakeKernel::jam() {
  while (::send(daemons_end_too_.get(), &kFiller, sizeof(kFiller), MSG_DONTWAIT) > 0) {
  }
  EXPECT_EQ(errno, EAGAIN);
}

void FakeKernel::stop_listening() { EXPECT_EQ(shutdown(ours_.get(), SHUT_RD), 0); }

void FakeKernel::hang_up() { EXPECT_EQ(shutdown(ours_.get(), SHUT_RDWR), 0); }

}  // namespace pmemd::test
