#include "client/shim/signal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "client/keeper/client_internal.h"
#include "client/shim/seqlock.h"

static SigactionCall real_sigaction;
static ShimJudge judge_address;

// --- the program's action

static struct seqlock sequence;
static struct {
  _Atomic uint64_t handler, flags, mask;
} recorded;
// Held across the real call, with all signals blocked, so that the kernel and the record agree.
static atomic_flag writing = ATOMIC_FLAG_INIT;

// The kernel has 64 signals; glibc's sigset_t has more bits, all of them 0.
static uint64_t word_of(const sigset_t* set) {
  uint64_t word;
  memcpy(&word, set, sizeof(word));
  return word;
}

static sigset_t set_of(uint64_t word) {
  sigset_t set;
  sigemptyset(&set);
  memcpy(&set, &word, sizeof(word));
  return set;
}

static struct sigaction load(void) {
  uint64_t handler = 0;
  uint64_t flags = 0;
  uint64_t mask = 0;
  uint32_t seen;
  while (seqlock_read_begin(&sequence, &seen)) {
    handler = atomic_load_explicit(&recorded.handler, memory_order_relaxed);
    flags = atomic_load_explicit(&recorded.flags, memory_order_relaxed);
    mask = atomic_load_explicit(&recorded.mask, memory_order_relaxed);
    if (seqlock_read_end(&sequence, seen)) break;
  }
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_handler = (void (*)(int))(uintptr_t)handler;
  action.sa_flags = (int)flags;
  action.sa_mask = set_of(mask);
  return action;
}

static void store(const struct sigaction* action) {
  seqlock_write_begin(&sequence);
  atomic_store_explicit(&recorded.handler, (uintptr_t)action->sa_handler, memory_order_relaxed);
  atomic_store_explicit(&recorded.flags, (uint32_t)action->sa_flags, memory_order_relaxed);
  atomic_store_explicit(&recorded.mask, word_of(&action->sa_mask), memory_order_relaxed);
  seqlock_write_end(&sequence);
}

static void write_begin(sigset_t* before) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, before);
  while (atomic_flag_test_and_set_explicit(&writing, memory_order_acquire)) sched_yield();
}

static void write_end(const sigset_t* before) {
  atomic_flag_clear_explicit(&writing, memory_order_release);
  pthread_sigmask(SIG_SETMASK, before, NULL);
}

// --- the handler

// Ends the process by this same signal, as its default action would: sends it again, to be taken
// when the handler returns.
static void die(siginfo_t* info) {
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_handler = SIG_DFL;
  real_sigaction(SIGBUS, &action, NULL);
  raise_in_thread(info);
}

// A fault, or a signal forced like one; not one that another process or thread sends.
static bool is_forced(const siginfo_t* info) {
  return info->si_code > 0 && info->si_code != SI_KERNEL && info->si_code != BUS_MCEERR_AO;
}

// Resets the action, as the kernel does before it calls the handler.
static void reset(void) {
  sigset_t before;
  write_begin(&before);
  struct sigaction action = load();
  if ((action.sa_flags & SA_RESETHAND) != 0) {
    action.sa_handler = SIG_DFL;
    store(&action);
  }
  write_end(&before);
}

static void pass_on(siginfo_t* info, void* context) {
  const struct sigaction action = load();
  if (action.sa_handler == SIG_DFL || (action.sa_handler == SIG_IGN && is_forced(info))) {
    die(info);
    return;
  }
  if (action.sa_handler == SIG_IGN) return;
  if ((action.sa_flags & SA_RESETHAND) != 0) reset();
  if ((action.sa_flags & SA_SIGINFO) != 0) {
    action.sa_sigaction(SIGBUS, info, context);
  } else {
    action.sa_handler(SIGBUS);
  }
}

static void on_sigbus(int number, siginfo_t* info, void* context) {
  (void)number;
  const int saved = errno;
  const uintptr_t address = (uintptr_t)info->si_addr;
  if (info->si_code == BUS_ADRERR && judge_address(address) == SHIM_POISON) {
    siginfo_t poison = mce_siginfo(BUS_MCEERR_AR, (void*)(address & ~(uintptr_t)4095), 12);
    errno = saved;
    pass_on(&poison, context);
    return;
  }
  errno = saved;
  pass_on(info, context);
}

// --- start, and the program's calls

// The action to give the kernel so that the program sees what it asked for.
static struct sigaction for_kernel(const struct sigaction* program) {
  struct sigaction action = *program;
  if (program->sa_handler == SIG_DFL || program->sa_handler == SIG_IGN) {
    action.sa_flags = SA_ONSTACK | SA_RESTART;
    sigemptyset(&action.sa_mask);
  }
  action.sa_flags = (action.sa_flags & ~SA_RESETHAND) | SA_SIGINFO;
  action.sa_sigaction = on_sigbus;
  return action;
}

void shim_signal_start(SigactionCall real, ShimJudge judge) {
  real_sigaction = real;
  judge_address = judge;
  struct sigaction action;
  if (real(SIGBUS, NULL, &action) == 0) shim_sigaction(&action, NULL);
}

int shim_sigaction(const struct sigaction* action, struct sigaction* old) {
  sigset_t before;
  write_begin(&before);
  const struct sigaction was = load();
  int result = 0;
  if (action) {
    const struct sigaction wanted = *action;  // `old` may be the same
    const struct sigaction kernel = for_kernel(&wanted);
    result = real_sigaction(SIGBUS, &kernel, NULL);
    if (result == 0) store(&wanted);
  }
  const int saved = errno;
  write_end(&before);
  errno = saved;
  if (old && result == 0) *old = was;
  return result;
}

bool shim_sigbus_is_ignored(void) { return load().sa_handler == SIG_IGN; }

void shim_signal_forget(void) {
  atomic_store(&sequence.sequence, 0);
  atomic_flag_clear(&writing);
}
