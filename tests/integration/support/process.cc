#include "tests/integration/support/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <utility>

extern "C" {  // glibc 2.36 forgot it
#include <sys/pidfd.h>
}

extern char** environ;

namespace pmemd {
namespace {

int milliseconds_until(std::chrono::steady_clock::time_point deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::max<int64_t>(left.count(), 0));
}

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& string : strings) pointers.push_back(string.data());
  return pointers;
}

[[noreturn]] void exec_in_child(const Spawn& spawn, char* const* args, char** env, pid_t parent) {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  const int program = open(args[0], O_PATH | O_CLOEXEC);
  int target = 0;
  for (const int fd : {spawn.in, spawn.out, spawn.err}) {
    if (dup2(fd >= 0 ? fd : null, target++) < 0) _exit(127);
  }
  signal(SIGPIPE, SIG_DFL);
  if (spawn.before_exec) spawn.before_exec();
  prctl(PR_SET_PDEATHSIG, SIGKILL);     // after before_exec: another user id clears it
  if (getppid() != parent) _exit(127);  // it died before we said so
  environ = env;
  execvp(args[0], args);
  // Another user may not get into the directory that we were built in.
  if (errno == EACCES && program >= 0) execveat(program, "", args, env, AT_EMPTY_PATH);
  dprintf(2, "%s: %s\n", args[0], strerror(errno));
  _exit(127);
}

}  // namespace

void throw_errno(const std::string& what) {
  throw std::runtime_error(fmt::format("{}: {}", what, strerror(errno)));
}

bool wait_readable(int fd, std::chrono::steady_clock::time_point deadline) {
  pollfd poll_fd{.fd = fd, .events = POLLIN, .revents = 0};
  for (;;) {
    const int ready = poll(&poll_fd, 1, milliseconds_until(deadline));
    if (ready > 0) return true;
    if (ready == 0) return false;
    if (errno != EINTR) throw_errno("poll");
  }
}

Process::Process(const Spawn& spawn) {
  // Everything that allocates comes before the fork: another thread may hold malloc's lock in it.
  std::vector<std::string> args = spawn.args;
  std::vector<char*> arg_pointers = pointers_to(args);
  arg_pointers.push_back(nullptr);
  std::vector<std::string> env = spawn.env;
  std::vector<char*> env_pointers = pointers_to(env);
  for (char** variable = environ; *variable != nullptr; ++variable) {
    env_pointers.push_back(*variable);
  }
  env_pointers.push_back(nullptr);

  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) throw_errno("fork");
  if (pid_ == 0) exec_in_child(spawn, arg_pointers.data(), env_pointers.data(), parent);
  pidfd_.reset(pidfd_open(pid_, 0));
  if (!pidfd_) throw_errno("pidfd_open");
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)), ended_(other.ended_) {}

Process::~Process() {
  if (pid_ < 0 || ended_) return;
  signal(SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Process::signal(int number) const {
  if (!ended_) pidfd_send_signal(pidfd_.get(), number, nullptr, 0);
}

void Process::stop() const {
  signal(SIGSTOP);
  siginfo_t info{};
  if (waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED) != 0) {
    throw std::runtime_error("waitid: a process that should have stopped");
  }
}

bool Process::running() const {
  return !ended_ && !wait_readable(pidfd_.get(), std::chrono::steady_clock::now());
}

int Process::wait(std::chrono::milliseconds patience) {
  if (ended_) return *ended_;
  if (!wait_readable(pidfd_.get(), std::chrono::steady_clock::now() + patience)) {
    throw std::runtime_error(fmt::format("pid {} did not end in {} ms", pid_, patience.count()));
  }
  int status = 0;
  if (waitpid(pid_, &status, 0) != pid_) throw_errno("waitpid");
  ended_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return *ended_;
}

Pipe::Pipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) throw_errno("pipe2");
  read_end.reset(fds[0]);
  write_end.reset(fds[1]);
}

Output run(std::vector<std::string> args, const RunOptions& options) {
  Pipe in, out, err;
  const auto deadline = std::chrono::steady_clock::now() + options.patience;
  Process process({.args = args,
                   .env = options.env,
                   .in = in.read_end.get(),
                   .out = out.write_end.get(),
                   .err = err.write_end.get(),
                   .before_exec = options.before_exec});
  in.read_end.reset();
  out.write_end.reset();
  err.write_end.reset();
  if (fcntl(in.write_end.get(), F_SETPIPE_SZ, 1 << 20) < 0) throw_errno("F_SETPIPE_SZ");
  if (write(in.write_end.get(), options.in.data(), options.in.size()) !=
      static_cast<ssize_t>(options.in.size())) {
    throw_errno("input of " + args[0]);
  }
  in.write_end.reset();

  Output output;
  std::array<pollfd, 2> fds{pollfd{out.read_end.get(), POLLIN, 0},
                            pollfd{err.read_end.get(), POLLIN, 0}};
  std::array<std::string*, 2> texts{&output.out, &output.err};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    if (poll(fds.data(), fds.size(), milliseconds_until(deadline)) == 0) {
      throw std::runtime_error(fmt::format("{}: still running after {} ms; it said: {}{}",
                                           fmt::join(args, " "), options.patience.count(),
                                           output.out, output.err));
    }
    for (size_t i = 0; i < fds.size(); ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      std::array<char, 65536> buffer{};
      const ssize_t got = read(fds[i].fd, buffer.data(), buffer.size());
      if (got > 0) texts[i]->append(buffer.data(), static_cast<size_t>(got));
      if (got == 0) fds[i].fd = -1;
    }
  }
  output.code = process.wait(options.patience);
  return output;
}

std::string run_ok(std::vector<std::string> args, const RunOptions& options) {
  Output output = run(args, options);
  if (output.code != 0) {
    throw std::runtime_error(fmt::format("{}: exit code {}\n{}{}", fmt::join(args, " "),
                                         output.code, output.out, output.err));
  }
  return std::move(output.out);
}

Conversation::Conversation(std::vector<std::string> args, std::function<void()> before_exec)
    : Conversation(Pipe(), Pipe(), std::move(args), std::move(before_exec)) {}

void become_user(uid_t uid) {
  if (setgroups(0, nullptr) != 0 || setresgid(uid, uid, uid) != 0 ||
      setresuid(uid, uid, uid) != 0) {
    _exit(99);
  }
}

std::string as_user(uid_t uid, const std::function<std::string()>& work,
                    std::chrono::milliseconds patience) {
  Pipe pipe;
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) throw_errno("fork");
  if (pid == 0) {
    become_user(uid);
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // behind the change of user, which takes it back
    if (getppid() != parent) _exit(2);
    const std::string text = work();
    const ssize_t put = write(pipe.write_end.get(), text.data(), text.size());
    _exit(put == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  pipe.write_end.reset();
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t got = 1; got > 0;) {
    if (!wait_readable(pipe.read_end.get(), deadline)) {
      kill(pid, SIGKILL);
      throw std::runtime_error(fmt::format("pid {} of user {} did not end in time", pid, uid));
    }
    got = read(pipe.read_end.get(), buffer.data(), buffer.size());
    if (got > 0) text.append(buffer.data(), static_cast<size_t>(got));
  }
  int status = 0;
  waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
  throw std::runtime_error(fmt::format("pid {} of user {}: status {:#x}", pid, uid, status));
}

Conversation::Conversation(Pipe in, Pipe out, std::vector<std::string> args,
                           std::function<void()> before_exec)
    : to_(std::move(in.write_end)),
      from_(std::move(out.read_end)),
      process_({.args = std::move(args),
                .in = in.read_end.get(),
                .out = out.write_end.get(),
                .err = STDERR_FILENO,
                .before_exec = std::move(before_exec)}) {}

void Conversation::send(const std::string& line) {
  const std::string text = line + "\n";
  if (write(to_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw_errno(line);
  }
}

std::string Conversation::receive() {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    if (const size_t end = received_.find('\n'); end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    if (!wait_readable(from_.get(), deadline)) {
      throw std::runtime_error(fmt::format("pid {} said nothing in time", pid()));
    }
    std::array<char, 4096> buffer{};
    const ssize_t got = read(from_.get(), buffer.data(), buffer.size());
    if (got <= 0) return "gone";
    received_.append(buffer.data(), static_cast<size_t>(got));
  }
}

std::string Conversation::ask(const std::string& line) {
  send(line);
  return receive();
}

}  // namespace pmemd
