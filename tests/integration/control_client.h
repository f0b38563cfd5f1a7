// Calls on the control socket without a program in between, for tests that make thousands.
//
// Thread contract: one thread. What can't be sent or received throws.
#pragma once

#include <string>

#include "core/base/unique_fd.h"
#include "tests/integration/harness.h"

namespace pmemd {

class ControlClient {
 public:
  explicit ControlClient(const std::string& socket);

  struct Answer {
    Json parameters;
    std::string error;  // empty: it was done
    bool done() const { return error.empty(); }
    int err() const { return parameters.value("errno", 0); }
    std::string message() const { return parameters.value("message", error); }
  };
  // `method` is of org.pmemd: "List".
  Answer call(const std::string& method, const Json& parameters = Json::object());

 private:
  UniqueFd fd_;
};

// Has whoever reaches `step` first stall there, until the faults are cleared (of a daemon with
// `debug_faults`).
void stall_at(ControlClient& control, const std::string& step);
// Returns when somebody stalls there.
void wait_until_stalled(ControlClient& control, const std::string& step);

}  // namespace pmemd
