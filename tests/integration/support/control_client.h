// Calls on the control socket without a program in between, for tests that make thousands.
//
// Thread contract: one thread. What can't be sent or received throws.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "core/base/unique_fd.h"
#include "tests/integration/support/harness.h"

namespace pmemd {

// A connection, and on it calls and replies as they come. `method` is of org.pmemd: "List".
class ControlStream {
 public:
  explicit ControlStream(const std::string& socket);

  // `more`: as a method that streams wants it.
  void send(const std::string& method, const Json& parameters, bool more = true);
  // Nothing: none came within this time. Throws when the daemon hangs up.
  std::optional<Json> receive(std::chrono::milliseconds patience);

 private:
  UniqueFd fd_;
  std::string received_;
};

class ControlClient {
 public:
  explicit ControlClient(const std::string& socket) : stream_(socket) {}

  struct Answer {
    Json parameters;
    std::string error;  // empty: it was done
    bool done() const { return error.empty(); }
    int err() const { return parameters.value("errno", 0); }
    std::string message() const { return parameters.value("message", error); }
  };
  Answer call(const std::string& method, const Json& parameters = Json::object());

 private:
  ControlStream stream_;
};

// Has whoever reaches `step` first stall there, until the faults are cleared (of a daemon with
// `debug_faults`).
void stall_at(ControlClient& control, const std::string& step);
// Returns when somebody stalls there.
void wait_until_stalled(ControlClient& control, const std::string& step);

}  // namespace pmemd
