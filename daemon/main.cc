#include <fcntl.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string_view>
#include <utility>
#include <variant>

#include "core/base/unique_fd.h"
#include "daemon/daemon.h"
#include "daemon/options.h"

namespace {

constexpr std::string_view kNoMemory =
    "pmemd: not enough memory to start (raise the limits: ulimit -v; of a service LimitAS=, "
    "MemoryMax=)\n";

// Moves to the background: the child goes on; the parent exits when the child is ready (0), or with
// the child's exit code if it fails first. Write to the returned descriptor when ready.
pmemd::UniqueFd detach() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    std::perror("pmemd: pipe");
    std::exit(1);
  }
  pmemd::UniqueFd is_ready(ends[0]);
  pmemd::UniqueFd tell_ready(ends[1]);
  const pid_t child = fork();
  if (child < 0) {
    std::perror("pmemd: fork");
    std::exit(1);
  }
  if (child == 0) {
    setsid();
    return tell_ready;
  }
  tell_ready.reset();
  char byte = 0;
  if (read(is_ready.get(), &byte, 1) == 1) std::exit(0);
  int status = 0;
  waitpid(child, &status, 0);
  std::exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

// Nobody reads our stderr any more: messages go to syslog.
void leave_terminal() {
  auto level = spdlog::get_level();
  spdlog::set_default_logger(spdlog::syslog_logger_mt("syslog", "pmemd", LOG_PID, LOG_DAEMON));
  spdlog::set_level(level);
  const pmemd::UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int fd : {0, 1, 2}) dup2(null.get(), fd);
}

int run(int argc, char** argv) {
  const auto parsed = pmemd::parse_options(argc, argv);
  if (const int* code = std::get_if<int>(&parsed)) return *code;
  const auto& options = std::get<pmemd::Options>(parsed);
  if (options.check) return pmemd::run_check(options);

  pmemd::UniqueFd tell_ready;
  if (!options.foreground) tell_ready = detach();
  spdlog::set_default_logger(spdlog::stderr_logger_mt("stderr"));
  // journald adds its own times.
  spdlog::set_pattern(std::getenv("JOURNAL_STREAM") != nullptr ? "%l: %v" : "%T.%e %l: %v");
  spdlog::set_level(spdlog::level::from_str(options.log_level));
  return pmemd::run_daemon(options, [&] {
    if (!tell_ready) return;
    leave_terminal();
    (void)!write(tell_ready.get(), "", 1);
  });
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {  // before the daemon started
    (void)!write(2, kNoMemory.data(), kNoMemory.size());
    return 1;
  }
}
