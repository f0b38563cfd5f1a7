#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <iostream>

#include "cli/output/table.h"
#include "cli/run.h"

namespace {

int stop_pipe[2] = {-1, -1};

void on_stop(int) {
  const int saved = errno;
  (void)!::write(stop_pipe[1], "", 1);
  errno = saved;
}

// Handled, not ignored: exec (check --pool) then restores the default action.
void on_broken_pipe(int) {}

void fit_tables_to_terminal() {
  winsize size = {};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return;  // a pipe or a file
  pmemd::cli::set_table_width(std::cout, size.ws_col);
}

}  // namespace

int main(int argc, char** argv) {
  if (::pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) != 0) return pmemd::cli::kFailed;
  std::signal(SIGINT, on_stop);
  std::signal(SIGTERM, on_stop);
  std::signal(SIGPIPE, on_broken_pipe);

  fit_tables_to_terminal();
  const int code = pmemd::cli::run(argc, argv, {std::cout, std::cerr, stop_pipe[0]});
  errno = 0;
  std::cout.flush();
  if (std::cout || errno == EPIPE) return code;
  if (errno != 0) std::cerr << "pmemctl: the output could not be written\n";
  return code == pmemd::cli::kDone && errno != 0 ? pmemd::cli::kFailed : code;
}
