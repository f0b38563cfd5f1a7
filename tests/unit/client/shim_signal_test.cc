// What a program sees of SIGBUS behind the shim's handler. Each test is a child of its own: a
// process has one action, and some of them end it.
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <functional>
#include <thread>
#include <vector>

#include "client/keeper/client_internal.h"
#include "client/shim/signal.h"
#include "tests/sanitizer.h"
#include "tests/unit/client/failing_memory.h"

namespace pmemd::test {
namespace {

FailingMemory* memory = nullptr;  // pages 1 to 3 fail; of these, 2 and 3 are poison

ShimVerdict judge(uintptr_t address) {
  return address >= reinterpret_cast<uintptr_t>(memory->page(2)) ? SHIM_POISON : SHIM_NOT_POISON;
}

volatile char* at(size_t page, size_t byte = 0) { return memory->page(page) + byte; }

struct Seen {
  int count = 0;
  int code = 0;
  char* address = nullptr;
  int lsb = 0;
  pid_t thread = 0;
  bool bus_blocked = false, usr1_blocked = false;
  bool on_alternate_stack = false;
};
thread_local Seen seen;
thread_local sigjmp_buf back;
thread_local volatile bool jump = true;

void note(siginfo_t* info) {
  sigset_t blocked;
  pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  stack_t stack = {};
  sigaltstack(nullptr, &stack);
  seen = {seen.count + 1,
          info != nullptr ? info->si_code : 0,
          info != nullptr ? static_cast<char*>(info->si_addr) : nullptr,
          info != nullptr ? info->si_addr_lsb : 0,
          gettid(),
          sigismember(&blocked, SIGBUS) == 1,
          sigismember(&blocked, SIGUSR1) == 1,
          (stack.ss_flags & SS_ONSTACK) != 0};
  if (jump) siglongjmp(back, 1);
}
void on_siginfo(int, siginfo_t* info, void*) { note(info); }
void on_plain(int) { note(nullptr); }

bool touch_fails(size_t page, size_t byte = 0) {
  if (sigsetjmp(back, 1) != 0) return true;
  (void)*at(page, byte);
  return false;
}

struct sigaction action_of(void (*handler)(int, siginfo_t*, void*), int flags = 0) {
  struct sigaction action = {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | flags;
  return action;
}

int set(const struct sigaction& action) { return shim_sigaction(&action, nullptr); }
int set_plain(void (*handler)(int), int flags = 0) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  return set(action);
}

class ShimSignal : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_UNDER_TSAN("signals");
    memory = &memory_;
  }

  // The wait status of a child that runs this behind the shim; true exits with 0, false with 1.
  static int status_of(const std::function<bool()>& what) {
    const pid_t child = fork();
    if (child == 0) {
      std::signal(SIGBUS, SIG_DFL);  // a sanitizer may have its own
      shim_signal_start(::sigaction, judge);
      _exit(what() ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return status;
  }
  static void expect_in_child(const std::function<bool()>& what) { EXPECT_EQ(status_of(what), 0); }
  static void expect_death(const std::function<bool()>& what) {
    const int status = status_of(what);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS) << status;
  }

  FailingMemory memory_{1, 3};
};

TEST_F(ShimSignal, PoisonIsActionRequiredAtThePagesAddress) {
  expect_in_child([] {
    set(action_of(on_siginfo));
    return touch_fails(2, 123) && seen.code == BUS_MCEERR_AR && seen.address == memory->page(2) &&
           seen.lsb == 12 && touch_fails(3, 4095) && seen.address == memory->page(3);
  });
}

TEST_F(ShimSignal, WhatIsNoPoisonIsAsItCame) {
  expect_in_child([] {
    set(action_of(on_siginfo));
    return touch_fails(1, 123) && seen.code == BUS_ADRERR &&
           seen.address == memory->page(1) + 123 && seen.lsb == 0 && !touch_fails(0);
  });
}

TEST_F(ShimSignal, TheFaultingThreadGetsIt) {
  expect_in_child([] {
    set(action_of(on_siginfo));
    std::vector<std::thread> threads;
    std::atomic<int> good = 0;
    threads.reserve(4);
    for (size_t i = 0; i < 4; ++i) {
      threads.emplace_back([&good, i] {
        for (int round = 0; round < 100; ++round) {
          const size_t page = 1 + (i + static_cast<size_t>(round)) % 3;
          const int code = page == 1 ? BUS_ADRERR : BUS_MCEERR_AR;
          if (touch_fails(page) && seen.thread == gettid() && seen.code == code) ++good;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return good == 400;
  });
}

TEST_F(ShimSignal, AHandlerWithoutSiginfoIsCalledPlainly) {
  expect_in_child([] {
    set_plain(on_plain);
    return touch_fails(2) && seen.count == 1;
  });
}

TEST_F(ShimSignal, TheProgramReadsBackWhatItHasSet) {
  expect_in_child([] {
    struct sigaction old = {};
    if (shim_sigaction(nullptr, &old) != 0 || old.sa_handler != SIG_DFL) return false;
    struct sigaction first = action_of(on_siginfo, SA_RESTART | SA_ONSTACK | SA_RESETHAND);
    sigaddset(&first.sa_mask, SIGUSR1);
    sigaddset(&first.sa_mask, SIGRTMAX);
    if (shim_sigaction(&first, &old) != 0 || old.sa_handler != SIG_DFL) return false;
    struct sigaction second = {};
    second.sa_handler = SIG_IGN;
    if (shim_sigaction(&second, &old) != 0 || old.sa_sigaction != on_siginfo) return false;
    if (old.sa_flags != first.sa_flags || sigismember(&old.sa_mask, SIGUSR1) != 1 ||
        sigismember(&old.sa_mask, SIGRTMAX) != 1 || sigismember(&old.sa_mask, SIGUSR2) != 0) {
      return false;
    }
    // The same object for both.
    struct sigaction both = first;
    return shim_sigbus_is_ignored() && shim_sigaction(&both, &both) == 0 &&
           both.sa_handler == SIG_IGN && !shim_sigbus_is_ignored();
  });
}

TEST_F(ShimSignal, WhatWasSetBeforeTheShimIsTheProgrammes) {
  const pid_t child = fork();
  if (child == 0) {
    struct sigaction before = action_of(on_siginfo);
    sigaction(SIGBUS, &before, nullptr);
    shim_signal_start(::sigaction, judge);
    struct sigaction now = {};
    shim_sigaction(nullptr, &now);
    const bool same = now.sa_sigaction == on_siginfo;
    _exit(same && touch_fails(2) && seen.code == BUS_MCEERR_AR ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(ShimSignal, TheMaskIsThatOfTheProgram) {
  expect_in_child([] {
    struct sigaction action = action_of(on_siginfo);
    sigaddset(&action.sa_mask, SIGUSR1);
    set(action);
    const bool first = touch_fails(2) && seen.bus_blocked && seen.usr1_blocked;
    set(action_of(on_siginfo, SA_NODEFER));
    return first && touch_fails(2) && !seen.bus_blocked && !seen.usr1_blocked;
  });
}

// A handler that touches poison itself, with SA_NODEFER.
void on_nested(int, siginfo_t* info, void*) {
  static thread_local volatile int depth = 0;
  depth = depth + 1;
  if (depth < 3) (void)*at(3, static_cast<size_t>(depth));
  depth = 0;
  note(info);
}

TEST_F(ShimSignal, HandlersNest) {
  expect_in_child([] {
    set(action_of(on_nested, SA_NODEFER));
    return touch_fails(2) && seen.count == 1 && seen.address == memory->page(3);
  });
}

TEST_F(ShimSignal, WithoutNodeferAFaultInTheHandlerIsDeath) {
  expect_death([] {
    set(action_of(on_nested));
    return touch_fails(2);
  });
}

TEST_F(ShimSignal, ResethandIsForOneSignal) {
  expect_death([] {
    set(action_of(on_siginfo, SA_RESETHAND));
    if (!touch_fails(2)) return false;
    struct sigaction now = {};
    shim_sigaction(nullptr, &now);
    if (now.sa_handler != SIG_DFL) return false;
    return touch_fails(2);
  });
}

TEST_F(ShimSignal, TheAlternateStackIsUsedIfAskedFor) {
  expect_in_child([] {
    std::vector<char> stack(65536);
    const stack_t alternate = {stack.data(), 0, stack.size()};
    sigaltstack(&alternate, nullptr);
    set(action_of(on_siginfo, SA_ONSTACK));
    if (!touch_fails(2) || !seen.on_alternate_stack) return false;
    set(action_of(on_siginfo));
    return touch_fails(2) && !seen.on_alternate_stack;
  });
}

TEST_F(ShimSignal, TheDefaultAndBlockingAndIgnoringIsDeath) {
  expect_death([] { return touch_fails(2); });
  expect_death([] { return touch_fails(1); });
  expect_death([] {
    set_plain(SIG_IGN);
    return touch_fails(2);
  });
  expect_death([] {
    set(action_of(on_siginfo));
    sigset_t bus;
    sigemptyset(&bus);
    sigaddset(&bus, SIGBUS);
    pthread_sigmask(SIG_BLOCK, &bus, nullptr);
    return touch_fails(2);
  });
}

siginfo_t queued(int code) {
  siginfo_t info = {};
  info.si_signo = SIGBUS;
  info.si_code = code;
  info.si_addr = reinterpret_cast<void*>(0x5000);
  info.si_addr_lsb = 12;
  return info;
}

TEST_F(ShimSignal, WhatIsSentIsPassedOnOrIgnored) {
  expect_in_child([] {
    jump = false;
    set(action_of(on_siginfo));
    kill(getpid(), SIGBUS);
    const bool sent = seen.count == 1 && seen.code == SI_USER;
    siginfo_t info = queued(BUS_MCEERR_AO);
    raise_in_thread(&info);
    const bool optional = seen.count == 2 && seen.code == BUS_MCEERR_AO &&
                          seen.address == reinterpret_cast<char*>(0x5000) && seen.lsb == 12;
    set_plain(SIG_IGN);
    raise_in_thread(&info);
    kill(getpid(), SIGBUS);
    return sent && optional && seen.count == 2;
  });
  expect_death([] { return kill(getpid(), SIGBUS) != 0; });
  expect_death([] {
    siginfo_t info = queued(BUS_MCEERR_AO);
    return raise_in_thread(&info) != 0;
  });
}

// Whoever looks at the death sees the code: a debugger, the core.
TEST_F(ShimSignal, TheSignalThatEndsItHasTheCode) {
  const pid_t child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    std::signal(SIGBUS, SIG_DFL);
    shim_signal_start(::sigaction, judge);
    (void)*at(2, 5);
    _exit(0);
  }
  siginfo_t last = {};
  int status = 0;
  while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
    ptrace(PTRACE_GETSIGINFO, child, nullptr, &last);
    ptrace(PTRACE_CONT, child, nullptr, WSTOPSIG(status));
  }
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
  EXPECT_EQ(last.si_code, BUS_MCEERR_AR);
  EXPECT_EQ(last.si_addr, memory->page(2));
  EXPECT_EQ(last.si_addr_lsb, 12);
}

TEST_F(ShimSignal, ErrnoIsTheProgramsInItsHandler) {
  expect_in_child([] {
    static int inside = 0;
    set(action_of([](int, siginfo_t*, void*) {
      inside = errno;
      siglongjmp(back, 1);
    }));
    errno = ENOTEMPTY;
    return touch_fails(2) && inside == ENOTEMPTY;
  });
}

TEST_F(ShimSignal, ActionsChangeWhileThreadsFault) {
  expect_in_child([] {
    set(action_of(on_siginfo));
    std::atomic<bool> stopping = false;
    std::atomic<int> good = 0;
    std::thread changer([&stopping] {
      for (int i = 0; !stopping; ++i) {
        if (i % 2 == 0) {
          set_plain(on_plain);
        } else {
          set(action_of(on_siginfo));
        }
      }
    });
    for (int i = 0; i < 2000; ++i) {
      if (touch_fails(2) && (seen.code == BUS_MCEERR_AR || seen.code == 0)) ++good;
    }
    stopping = true;
    changer.join();
    return good == 2000;
  });
}

}  // namespace
}  // namespace pmemd::test
