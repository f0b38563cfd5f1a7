// A child process that sets something up, tells a number, and stays until it is ended.
//
// Thread contract: fork() is used plainly: no other thread of the test may run meanwhile.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <utility>

namespace pmemd {

class Child {
 public:
  // Returns when `set_up` has run in the child. UINT64_MAX says that it failed.
  explicit Child(const std::function<uint64_t()>& set_up) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe(ends), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const uint64_t told = set_up();
      if (::write(ends[1], &told, sizeof(told)) != sizeof(told)) ::_exit(1);
      while (true) ::pause();
    }
    ::close(ends[1]);
    EXPECT_EQ(::read(ends[0], &told_, sizeof(told_)), ssize_t{sizeof(told_)});
    ::close(ends[0]);
    EXPECT_NE(told_, UINT64_MAX) << "the child could not set up what the test wants";
  }
  ~Child() { end(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  uint64_t told() const { return told_; }

  void end() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  // For one that somebody else ends: the signal that did it, or 0.
  int wait_for_signal() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }
  bool is_running() const { return pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == 0; }

 private:
  pid_t pid_ = -1;
  uint64_t told_ = UINT64_MAX;
};

}  // namespace pmemd
