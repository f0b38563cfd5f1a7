#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>
#include <functional>
#include <thread>

#include "client/pmemd_client.h"
#include "tests/sanitizer.h"

namespace pmemd::test {
namespace {

// The signal that ends a child that does this; 0: it exits with 0.
int signal_that_ends(const std::function<void()>& what) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGBUS, SIG_DFL);  // a sanitizer may have its own
    what();
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

sigset_t bus() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGBUS);
  return set;
}

struct Seen {
  int code = 0;
  void* address = nullptr;
  int lsb = 0;
  pid_t thread = 0;
};
Seen seen;

void install_handler() {
  struct sigaction action = {};
  action.sa_sigaction = [](int, siginfo_t* info, void*) {
    seen = {info->si_code, info->si_addr, info->si_addr_lsb, gettid()};
  };
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

void* const kAddress = reinterpret_cast<void*>(0x7f0000003000);

class Deliver : public ::testing::Test {
 protected:
  void SetUp() override { SKIP_UNDER_TSAN("signals"); }
  void TearDown() override { std::signal(SIGBUS, SIG_DFL); }
};

TEST_F(Deliver, ActionRequiredReachesTheCallingThread) {
  install_handler();
  std::thread([] {
    EXPECT_EQ(pmemd_deliver(BUS_MCEERR_AR, kAddress, 12), 0);
    EXPECT_EQ(seen.thread, gettid());
  }).join();
  EXPECT_EQ(seen.code, BUS_MCEERR_AR);
  EXPECT_EQ(seen.address, kAddress);
  EXPECT_EQ(seen.lsb, 12);
}

TEST_F(Deliver, ActionOptionalIsForAnyThread) {
  const sigset_t set = bus();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // The sender blocks it too, and is no leader of its process.
  std::thread([] { EXPECT_EQ(pmemd_deliver(BUS_MCEERR_AO, kAddress, 21), 0); }).join();
  siginfo_t info = {};
  const timespec patience = {10, 0};
  EXPECT_EQ(sigtimedwait(&set, &info, &patience), SIGBUS);
  EXPECT_EQ(info.si_code, BUS_MCEERR_AO);
  EXPECT_EQ(info.si_addr, kAddress);
  EXPECT_EQ(info.si_addr_lsb, 21);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

TEST_F(Deliver, ActionRequiredEndsWhoBlocksOrIgnoresIt) {
  EXPECT_EQ(signal_that_ends([] {
              const sigset_t set = bus();
              pthread_sigmask(SIG_BLOCK, &set, nullptr);
              install_handler();
              pmemd_deliver(BUS_MCEERR_AR, kAddress, 12);
            }),
            SIGBUS);
  EXPECT_EQ(signal_that_ends([] {
              std::signal(SIGBUS, SIG_IGN);
              pmemd_deliver(BUS_MCEERR_AR, kAddress, 12);
            }),
            SIGBUS);
}

TEST_F(Deliver, ActionOptionalMayBeIgnoredAndBlocked) {
  EXPECT_EQ(signal_that_ends([] {
              std::signal(SIGBUS, SIG_IGN);
              pmemd_deliver(BUS_MCEERR_AO, kAddress, 12);
            }),
            0);
  EXPECT_EQ(signal_that_ends([] {
              const sigset_t set = bus();
              pthread_sigmask(SIG_BLOCK, &set, nullptr);
              pmemd_deliver(BUS_MCEERR_AO, kAddress, 12);
            }),
            0);
  EXPECT_EQ(signal_that_ends([] { pmemd_deliver(BUS_MCEERR_AO, kAddress, 12); }), SIGBUS);
}

TEST_F(Deliver, AnotherCodeIsEinval) {
  EXPECT_EQ(pmemd_deliver(BUS_ADRERR, kAddress, 12), -EINVAL);
  EXPECT_EQ(pmemd_deliver(0, kAddress, 12), -EINVAL);
}

}  // namespace
}  // namespace pmemd::test
