#include "core/image/sigbus_guard.h"

#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

#include <atomic>
#include <cassert>
#include <cstdint>

namespace pmemd {
namespace {

struct Guard {
  uintptr_t begin;
  uintptr_t end;
  sigjmp_buf fault;
};

constinit thread_local Guard* current_guard = nullptr;

struct sigaction previous_action;

// Passes the signal to the previous handler or the default action.
void chain(int signo, siginfo_t* info, void* context) {
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signo, info, context);
  } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(signo);
  } else {
    // On return a fault happens again, and a sent signal is sent again; then the action runs.
    ::signal(signo, previous_action.sa_handler);
    if (info->si_code <= 0) ::raise(signo);
  }
}

void on_sigbus(int signo, siginfo_t* info, void* context) {
  Guard* const guard = current_guard;
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  // si_code > 0: the kernel reports a fault; otherwise a process sent it, and si_addr means
  // nothing.
  if (guard != nullptr && info->si_code > 0 && address >= guard->begin && address < guard->end) {
    // The handler is left by a jump, so it must restore the signal mask itself; having sigsetjmp
    // save it would cost each access a system call, not only each fault.
    ::pthread_sigmask(SIG_SETMASK, &static_cast<const ucontext_t*>(context)->uc_sigmask, nullptr);
    siglongjmp(guard->fault, 1);
  }
  chain(signo, info, context);
}

bool install() {
  struct sigaction action = {};
  action.sa_sigaction = on_sigbus;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;  // the previous handler may need its stack
  const int error = ::sigaction(SIGBUS, &action, &previous_action);
  assert(error == 0);
  return error == 0;
}

}  // namespace

bool run_guarded(const void* begin, size_t length, void (*access)(void*), void* context) {
  static const bool installed = install();
  (void)installed;
  assert(current_guard == nullptr);

  Guard guard;
  guard.begin = reinterpret_cast<uintptr_t>(begin);
  guard.end = guard.begin + length;
  if (sigsetjmp(guard.fault, 0) != 0) {
    current_guard = nullptr;
    return false;
  }
  current_guard = &guard;
  std::atomic_signal_fence(std::memory_order_seq_cst);  // the handler sees it before the access
  access(context);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  current_guard = nullptr;
  return true;
}

}  // namespace pmemd
