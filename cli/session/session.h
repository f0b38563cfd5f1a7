// One run of pmemctl: its global options, its connection, and how it reports errors.
#pragma once

#include <expected>
#include <string>

#include "cli/output/terminal.h"
#include "core/control/varlink.h"

namespace pmemd::cli {

class Session {
 public:
  explicit Session(Terminal& terminal) : terminal_(terminal) {}

  // The global options.
  std::string socket;
  bool json = false;

  std::ostream& out() { return terminal_.out; }
  std::ostream& err() { return terminal_.err; }
  int stop_fd() const { return terminal_.stop_fd; }

  // One call, one reply. `method` is one of org.pmemd's: "List".
  std::expected<Json, VarlinkError> call(const std::string& method, Json parameters);

  // Prints the error (a line and the holders in the way, or with --json one line of JSON) and
  // returns the exit code.
  int fail(const VarlinkError& error);

 private:
  Terminal& terminal_;
};

}  // namespace pmemd::cli
