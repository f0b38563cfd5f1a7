// A ControlServer on an event loop of its own thread, and plain blocking clients.
#pragma once

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "daemon/control/server.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd::test {

// Ends as soon as `flag` is set; a test that would hang fails instead.
class Flag {
 public:
  void set() { promise_.set_value(); }
  bool wait() const {
    return future_.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  }

 private:
  std::promise<void> promise_;
  std::shared_future<void> future_ = promise_.get_future().share();
};

class ControlClient {
 public:
  explicit ControlClient(const std::string& path)
      : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    connected_ = ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    const timeval limit = {20, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  }

  bool connected() const { return connected_; }
  int fd() const { return fd_.get(); }
  void close() { fd_.reset(); }

  bool send_bytes(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t put = ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put < 0) return false;
      bytes.remove_prefix(static_cast<size_t>(put));
    }
    return true;
  }
  bool send(const Call& call) { return send_bytes(encode(call)); }

  // Nothing: the server hung up (or 20 s have passed).
  std::optional<Reply> receive() {
    while (true) {
      auto message = replies_.next();
      if (!message) return std::nullopt;
      if (*message) {
        auto reply = parse_reply(**message);
        return reply ? std::optional(*reply) : std::nullopt;
      }
      char buffer[4096];
      const ssize_t got = ::recv(fd(), buffer, sizeof(buffer), 0);
      if (got <= 0) return std::nullopt;
      replies_.append({buffer, static_cast<size_t>(got)});
    }
  }
  Reply call(const Call& call) {
    (void)send(call);  // who was turned away, can't, but has a reply to read
    return receive().value_or(Reply{{}, false, "hung up"});
  }

 private:
  UniqueFd fd_;
  bool connected_ = false;
  MessageSplitter replies_{64 << 20};
};

class ControlServerTest : public testing::Test {
 protected:
  ControlServerTest() {
    options_.path = directory_.path() + "/run/control";
    handlers_["List"] = [](const Call&, const Peer&) -> HandlerResult {
      return Json{{"namespaces", Json::array()}};
    };
  }
  void TearDown() override { stop(); }  // while the test's own members are still there

  // Starts the loop's thread and, on it, the server.
  void start() {
    posted_.reset(::eventfd(0, EFD_CLOEXEC));
    Flag started;
    thread_ = std::thread([&] { run_loop(started); });
    ASSERT_TRUE(started.wait());
    ASSERT_NE(server_, nullptr);
  }
  void stop() {
    if (!thread_.joinable()) return;
    if (server_) in_loop([this] { server_.reset(); });
    in_loop([this] { sd_event_exit(event_, 0); });
    thread_.join();
  }

  // Runs it on the loop's thread, between two events, and waits for it.
  void in_loop(std::function<void()> function) {
    Flag done;
    task_ = [&] {
      function();
      done.set();
    };
    const uint64_t one = 1;
    ASSERT_EQ(::write(posted_.get(), &one, sizeof(one)), ssize_t{sizeof(one)});
    ASSERT_TRUE(done.wait());
  }
  // Lets the loop go round until the server says so; false: not within 20 s.
  bool wait_for(const std::function<bool(const ControlServer::Stats&)>& condition) {
    const Deadline deadline = deadline_after(std::chrono::seconds(20));
    while (!condition(server_->stats())) {
      if (Clock::now() > deadline) return false;
      in_loop([] {});
    }
    return true;
  }

  ControlClient connect() { return ControlClient(options_.path); }

  TemporaryDirectory directory_;
  ControlOptions options_;
  Handlers handlers_;
  sd_event* event_ = nullptr;
  std::unique_ptr<ControlServer> server_;

 private:
  void run_loop(Flag& started) {
    ASSERT_GE(sd_event_new(&event_), 0);
    ASSERT_GE(sd_event_add_io(
                  event_, nullptr, posted_.get(), EPOLLIN,
                  [](sd_event_source*, int fd, uint32_t, void* self) {
                    uint64_t count = 0;
                    (void)!::read(fd, &count, sizeof(count));
                    static_cast<ControlServerTest*>(self)->task_();
                    return 0;
                  },
                  this),
              0);
    auto server = ControlServer::start(event_, options_, handlers_);
    EXPECT_TRUE(server) << server.error().describe();
    if (server) server_ = *std::move(server);
    started.set();
    sd_event_loop(event_);
    sd_event_unref(event_);
  }

  UniqueFd posted_;
  std::function<void()> task_;
  std::thread thread_;
};

}  // namespace pmemd::test
