// Child processes of the integration tests, with deadlines for everything.
//
// A child gets SIGKILL when its Process goes, and when the test program dies (so no test, failed,
// thrown out of or timed out, leaves one behind). What doesn't happen in time, or can't be set up,
// throws std::runtime_error: GoogleTest turns that into a failure of the test.
//
// Thread contract: a Process belongs to one thread, which outlives it (the kernel counts a
// parent's death by thread).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"

namespace pmemd {

inline constexpr std::chrono::seconds kPatience{30};

// Throws std::runtime_error: "<what>: <strerror(errno)>".
[[noreturn]] void throw_errno(const std::string& what);

// Waits until `fd` can be read (or its other end is gone); false when the deadline passed first.
[[nodiscard]] bool wait_readable(int fd, std::chrono::steady_clock::time_point deadline);

struct Spawn {
  std::vector<std::string> args;           // args[0]: the program, a path or looked up in PATH
  std::vector<std::string> env = {};       // "NAME=value", beside our own
  int in = -1, out = -1, err = -1;         // become 0, 1, 2; -1: /dev/null
  std::function<void()> before_exec = {};  // in the child; async-signal-safe calls only
};

class Process {
 public:
  explicit Process(const Spawn& spawn);
  ~Process();
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }  // readable when it has ended
  void signal(int number) const;
  void stop() const;  // SIGSTOP; all its threads stand still when this returns
  bool running() const;
  // The exit code, or 128 + the signal that ended it.
  int wait(std::chrono::milliseconds patience = kPatience);

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  std::optional<int> ended_;
};

struct Output {
  int code = 0;
  std::string out, err;
};

struct RunOptions {
  std::string in = {};
  std::vector<std::string> env = {};
  std::chrono::milliseconds patience = kPatience;
  std::function<void()> before_exec = {};
};

// Runs a program to its end.
Output run(std::vector<std::string> args, const RunOptions& options = {});
// The same; throws, with all that it said, unless it exits with 0. Returns its stdout.
std::string run_ok(std::vector<std::string> args, const RunOptions& options = {});

// Becomes that user, in no group but its own; for before_exec. Async-signal-safe. Ends the process
// if that can't be.
void become_user(uid_t uid);

// What `work` returns, which runs in a forked child as that user. Throws if that takes too long, or
// the child dies.
std::string as_user(uid_t uid, const std::function<std::string()>& work,
                    std::chrono::milliseconds patience = kPatience);

// A pipe, close-on-exec.
struct Pipe {
  Pipe();
  UniqueFd read_end, write_end;
};

// A program that is talked to by lines: its stdin and stdout.
class Conversation {
 public:
  explicit Conversation(std::vector<std::string> args, std::function<void()> before_exec = {});

  pid_t pid() const { return process_.pid(); }
  Process& process() { return process_; }

  void send(const std::string& line);
  // The next line, without its end; "gone" when there will be none.
  std::string receive();
  std::string ask(const std::string& line);

 private:
  Conversation(Pipe in, Pipe out, std::vector<std::string> args, std::function<void()> before_exec);

  UniqueFd to_, from_;
  Process process_;
  std::string received_;
};

}  // namespace pmemd
