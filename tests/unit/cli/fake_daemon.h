// A daemon for pmemctl to talk to: it answers each method as the test says and remembers the calls.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "cli/run.h"
#include "core/base/mutex.h"
#include "core/base/unique_fd.h"
#include "core/control/varlink.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd::cli::test {

class FakeDaemon {
 public:
  explicit FakeDaemon(const std::string& path)
      : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listener_.get(), 16), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeDaemon() {
    ::shutdown(listener_.get(), SHUT_RDWR);  // ends accept()
    thread_.join();
  }

  // What calls of "org.pmemd.<method>" get: all of these, and then, if `hold`, silence until the
  // client goes; else the connection is closed.
  void answer_with(const std::string& method, std::vector<std::string> messages,
                   bool hold = false) {
    MutexLock lock(mutex_);
    answers_["org.pmemd." + method] = {std::move(messages), hold};
  }
  void answer(const std::string& method, const Json& parameters) {
    answer_with(method, {encode(Reply{parameters, false, {}})});
  }

  // The first call gets the first of them, and so on; then what answer() says.
  void answer_in_turn(const std::string& method, const std::vector<Json>& parameters) {
    MutexLock lock(mutex_);
    auto& turns = turns_["org.pmemd." + method];
    for (const Json& reply : parameters) turns.push_back({{encode(Reply{reply, false, {}})}});
  }

  std::vector<Call> calls() {
    MutexLock lock(mutex_);
    return calls_;
  }

 private:
  struct Answer {
    std::vector<std::string> messages;
    bool hold = false;
  };

  void serve() {
    while (true) {
      const UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client) return;
      MessageSplitter splitter(kMaxCallBytes);
      char buffer[4096];
      std::optional<std::string> message;
      while (!(message = splitter.next().value_or(std::nullopt))) {
        const ssize_t got = ::recv(client.get(), buffer, sizeof(buffer), 0);
        if (got <= 0) break;
        splitter.append({buffer, static_cast<size_t>(got)});
      }
      if (!message) continue;
      const Answer answer = take(parse_call(*message).value());
      for (const std::string& reply : answer.messages) {
        ::send(client.get(), reply.data(), reply.size(), MSG_NOSIGNAL);
      }
      if (answer.hold) (void)!::recv(client.get(), buffer, sizeof(buffer), 0);
    }
  }
  Answer take(const Call& call) {
    MutexLock lock(mutex_);
    calls_.push_back(call);
    auto& turns = turns_[call.method];
    if (turns.empty()) return answers_[call.method];
    Answer answer = std::move(turns.front());
    turns.pop_front();
    return answer;
  }

  UniqueFd listener_;
  Mutex mutex_;
  std::map<std::string, Answer> answers_ PMEMD_GUARDED_BY(mutex_);
  std::map<std::string, std::deque<Answer>> turns_ PMEMD_GUARDED_BY(mutex_);  // first
  std::vector<Call> calls_ PMEMD_GUARDED_BY(mutex_);
  std::thread thread_;
};

// Runs pmemctl against a fake daemon.
class CliTest : public testing::Test {
 protected:
  struct Output {
    int code = 0;
    std::string out;
    std::string err;
  };

  Output run(std::vector<std::string> args, int stop_fd = -1) {
    args.insert(args.begin(), {"pmemctl", "--socket", socket_});
    std::vector<const char*> argv;
    argv.reserve(args.size());
    for (const std::string& arg : args) argv.push_back(arg.c_str());
    std::ostringstream out;
    std::ostringstream err;
    const int code = cli::run(static_cast<int>(argv.size()), argv.data(), {out, err, stop_fd});
    return {code, out.str(), err.str()};
  }
  // The parameters of the one call that a run makes.
  std::string sent_by(std::vector<std::string> args) {
    const size_t before = daemon_.calls().size();
    run(std::move(args));
    const auto calls = daemon_.calls();
    if (calls.size() != before + 1) return "not one call";
    return calls.back().method.substr(strlen("org.pmemd.")) + calls.back().parameters.dump();
  }
  static std::string failure(int err, const std::string& message,
                             const Json& details = Json::object()) {
    return encode(failed(pmemd::fail(err, message, "a way on").error(), details));
  }

  TemporaryDirectory directory_;
  std::string socket_ = directory_.path() + "/control";
  FakeDaemon daemon_{socket_};
};

}  // namespace pmemd::cli::test
