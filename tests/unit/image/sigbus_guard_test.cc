// What the guard catches, and what it lets pass.
#include "core/image/sigbus_guard.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>
#include <vector>

namespace pmemd {
namespace {

// Two pages of a file that has only the first.
class SigbusGuard : public ::testing::Test {
 protected:
  void SetUp() override {
    const int fd = ::memfd_create("guard", MFD_CLOEXEC);
    ASSERT_EQ(::ftruncate(fd, 4096), 0);
    pages_ = static_cast<char*>(::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    ASSERT_NE(pages_, MAP_FAILED);
    ::close(fd);
  }
  void TearDown() override { ::munmap(pages_, 8192); }

  // A load, so that threads may do it at once.
  static void touch(const char* address) { (void)*static_cast<const volatile char*>(address); }

  char* pages_ = nullptr;
};

TEST_F(SigbusGuard, AGoodAccessIsTrueAndABadOneFalseAgainAndAgain) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(guarded(pages_, 8192, [&] { touch(pages_); }));
    EXPECT_FALSE(guarded(pages_, 8192, [&] { touch(pages_ + 4096); }));
  }
}

TEST_F(SigbusGuard, SignalsAreBlockedAfterwardsAsBefore) {
  sigset_t before, after;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  EXPECT_FALSE(guarded(pages_, 8192, [&] { touch(pages_ + 4096); }));
  ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int signo = 1; signo < NSIG; ++signo) {
    EXPECT_EQ(sigismember(&before, signo), sigismember(&after, signo)) << signo;
  }
}

TEST_F(SigbusGuard, ThreadsFaultOnTheirOwn) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        EXPECT_TRUE(guarded(pages_, 4096, [] {}));
        EXPECT_FALSE(guarded(pages_, 8192, [&] { touch(pages_ + 4096); }));
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

using SigbusGuardDeathTest = SigbusGuard;

TEST_F(SigbusGuardDeathTest, AFaultOutsideOfAGuardKills) {
  EXPECT_EXIT(
      {
        ::signal(SIGBUS, SIG_DFL);  // a sanitizer's handler would be chained to
        EXPECT_TRUE(guarded(pages_, 8192, [] {}));
        touch(pages_ + 4096);
      },
      ::testing::KilledBySignal(SIGBUS), "");
}

TEST_F(SigbusGuardDeathTest, AFaultOutsideOfTheNamedRangeKills) {
  EXPECT_EXIT(
      {
        ::signal(SIGBUS, SIG_DFL);
        (void)guarded(pages_, 4096, [&] { touch(pages_ + 4096); });
      },
      ::testing::KilledBySignal(SIGBUS), "");
}

TEST_F(SigbusGuardDeathTest, ASentSignalKills) {
  EXPECT_EXIT(
      {
        ::signal(SIGBUS, SIG_DFL);
        (void)guarded(pages_, 8192, [] { ::raise(SIGBUS); });
      },
      ::testing::KilledBySignal(SIGBUS), "");
}

TEST_F(SigbusGuardDeathTest, AnEarlierHandlerGetsWhatIsNotOurs) {
  EXPECT_EXIT(
      {
        struct sigaction action = {};
        action.sa_sigaction = [](int, siginfo_t* info, void*) {
          ::_exit(info->si_addr != nullptr ? 42 : 43);
        };
        action.sa_flags = SA_SIGINFO;
        ::sigaction(SIGBUS, &action, nullptr);
        if (guarded(pages_, 8192, [&] { touch(pages_ + 4096); })) ::_exit(1);
        touch(pages_ + 4096);
      },
      ::testing::ExitedWithCode(42), "");
}

}  // namespace
}  // namespace pmemd
