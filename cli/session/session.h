// One run of pmemctl: its global options, its connection, and how it reports errors.
#pragma once

#include <expected>
#include <string>
#include <utility>

#include "cli/output/terminal.h"
#include "cli/session/client.h"
#include "core/control/varlink.h"

namespace pmemd::cli {

class Session {
 public:
  explicit Session(Terminal& terminal) : terminal_(terminal) {}

  // The global options.
  std::string socket;    // empty: find_daemon() finds it (cli/session/daemons.h)
  std::string instance;  // else the socket of pmemd@NAME
  bool json = false;

  std::ostream& out() { return terminal_.out; }
  std::ostream& err() { return terminal_.err; }
  int stop_fd() const { return terminal_.stop_fd; }

  // The verb is about this file: of several daemons, the one that shows it is meant. Call it before
  // the first connect().
  void is_about(std::string file) { file_ = std::move(file); }
  // A connection to the daemon that is meant: the same for the whole run.
  std::expected<Client, VarlinkError> connect();

  // One call, one reply. `method` is one of org.pmemd's: "List".
  std::expected<Json, VarlinkError> call(const std::string& method, Json parameters);

  // Prints the error (a line and the holders in the way, or with --json one line of JSON) and
  // returns the exit code.
  int fail(const VarlinkError& error);

 private:
  Terminal& terminal_;
  std::string file_;
};

}  // namespace pmemd::cli
