// libpmemd-shim.so, for LD_PRELOAD: gives unmodified programs the SIGBUS codes and MAP_SYNC of real
// persistent memory on files of a pmemd mount. This file defines the symbols that it replaces;
// memory.c and signal.c implement them.
//
// A program that calls the kernel without libc (Go, a static one) isn't reached.

// <sys/mman.h> would make our mmap() an mmap64(); we are both.
#undef _FILE_OFFSET_BITS

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "client/keeper/keeper.h"
#include "client/shim/mappings.h"
#include "client/shim/memory.h"
#include "client/shim/poison.h"
#include "client/shim/seqlock.h"
#include "client/shim/signal.h"

#define EXPORT __attribute__((visibility("default")))

static_assert(sizeof(off_t) == 8, "mmap() and mmap64() are one");

// --- the calls below us: the next library's, or the kernel's until that is known

static void* raw_mmap(void* address, size_t length, int protection, int flags, int fd,
                      off_t offset) {
  return (void*)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

static int raw_munmap(void* address, size_t length) {
  return (int)syscall(SYS_munmap, address, length);
}

static void* raw_mremap(void* address, size_t length, size_t new_length, int flags, void* target) {
  return (void*)syscall(SYS_mremap, address, length, new_length, flags, target);
}

static void* (*next_mmap)(void*, size_t, int, int, int, off_t) = raw_mmap;
static int (*next_munmap)(void*, size_t) = raw_munmap;
static void* (*next_mremap)(void*, size_t, size_t, int, ...);
// NOLINTNEXTLINE(readability-identifier-naming): libc's name
int __sigaction(int number, const struct sigaction* action, struct sigaction* old);
static SigactionCall next_sigaction = __sigaction;

static void* below_mremap(void* address, size_t length, size_t new_length, int flags,
                          void* target) {
  return next_mremap ? next_mremap(address, length, new_length, flags, target)
                     : raw_mremap(address, length, new_length, flags, target);
}

// --- what is ours

static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;  // held while threads are started

// May run before the program's runtime is ready: system calls only.
static bool probe(int fd, uint32_t* flags) {
  const int saved = errno;
  struct statfs where;
  struct pmemd_info info = {.version = 0};
  const bool ours = syscall(SYS_fstatfs, fd, &where) == 0 && where.f_type == FUSE_SUPER_MAGIC &&
                    syscall(SYS_ioctl, fd, PMEMD_IOC_INFO, &info) == 0;
  *flags = info.flags;
  errno = saved;
  return ours;
}

// Threads start at the first mapping of ours and stay: a program that maps once maps again.
static int attach(int fd, const struct keeper_range* range, KeeperFile* file, uint64_t* id) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  pthread_mutex_lock(&starting);
  const int result = keeper_start(shim_on_event);
  pthread_mutex_unlock(&starting);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return result == 0 ? keeper_attach(fd, range, file, id) : result;
}

static void run(void (*work)(void)) { keeper_run(work); }

// The process that the record of SIGBUS belongs to: never a vfork child, which shares our memory.
static _Atomic pid_t owner;

// A fork waits for no thread: the child forgets what other threads were in the middle of.
static void after_fork_in_child(void) {
  atomic_store(&owner, getpid());
  pthread_mutex_init(&starting, NULL);
  keeper_forget();
  mappings_forget();
  shim_signal_forget();
}

// Sets a pointer to a function: ISO C converts an address to one only through its bytes.
static void bind_next(void* function, const char* name) {
  void* const found = dlsym(RTLD_NEXT, name);
  if (found) memcpy(function, (const void*)&found, sizeof(found));
}

// Runs once the program's libraries are loaded. Until then calls go to the kernel: a sanitizer's
// runtime makes some while it starts, when its own functions, which may be the next ones, can't be
// called.
__attribute__((constructor)) static void bind_all(void) {
  static atomic_flag bound = ATOMIC_FLAG_INIT;
  if (atomic_flag_test_and_set(&bound)) return;
  bind_next((void*)&next_mmap, "mmap");
  bind_next((void*)&next_munmap, "munmap");
  bind_next((void*)&next_mremap, "mremap");
  bind_next((void*)&next_sigaction, "sigaction");
  // A sanitizer's library that `pmemctl exec` put before us is for this program, not its children.
  const char* const preload = getenv("PMEMD_CHILDREN_PRELOAD");
  if (!preload) return;
  setenv("LD_PRELOAD", preload, 1);
  unsetenv("PMEMD_CHILDREN_PRELOAD");
}

enum { NOT_STARTED, STARTING, STARTED };
static _Atomic int state;

static bool is_started(void) { return atomic_load(&state) == STARTED; }

// Runs at the first mapping of a file of ours, not before: the runtime of a sanitizer that is
// linked into the program may not be ready when constructors run, and sets SIGBUS later.
static void start(void) {
  int expected = NOT_STARTED;
  if (!atomic_compare_exchange_strong(&state, &expected, STARTING)) {
    // The starting thread may be one of the process that forked us: then we act as without the
    // shim.
    for (int i = 0; i < kSeqlockPatience && !is_started(); ++i) sched_yield();
    return;
  }
  bind_all();
  atomic_store(&owner, getpid());
  const struct shim_below below = {next_mmap,    next_munmap,
                                   below_mremap, probe,
                                   attach,       {keeper_attach_again, keeper_detach, run}};
  shim_memory_start(&below);
  shim_signal_start(next_sigaction, shim_judge);
  pthread_atfork(NULL, NULL, after_fork_in_child);
  atomic_store(&state, STARTED);
}

static bool is_started_to_map(int flags, int fd) {
  uint32_t info;
  if (!is_started() && fd >= 0 && (flags & MAP_ANONYMOUS) == 0 && probe(fd, &info)) start();
  return is_started();
}

// --- memory

// Our own code calls these directly: a sanitizer's may come before the exported ones.
static void* map(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  return is_started_to_map(flags, fd) ? shim_mmap(address, length, protection, flags, fd, offset)
                                      : next_mmap(address, length, protection, flags, fd, offset);
}

EXPORT void* mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  return map(address, length, protection, flags, fd, offset);
}

EXPORT void* mmap64(void* address, size_t length, int protection, int flags, int fd,
                    off64_t offset) {
  return map(address, length, protection, flags, fd, offset);
}

EXPORT int munmap(void* address, size_t length) {
  return is_started() ? shim_munmap(address, length) : next_munmap(address, length);
}

EXPORT void* mremap(void* address, size_t length, size_t new_length, int flags, ...) {
  va_list more;
  va_start(more, flags);
  void* target = va_arg(more, void*);
  va_end(more);
  return is_started() ? shim_mremap(address, length, new_length, flags, target)
                      : below_mremap(address, length, new_length, flags, target);
}

// --- SIGBUS

static atomic_bool interrupts;  // siginterrupt(SIGBUS, 1) was called

static bool is_ours(int number) {
  return number == SIGBUS && is_started() && getpid() == atomic_load(&owner);
}

static int act(int number, const struct sigaction* action, struct sigaction* old) {
  if (!is_ours(number)) return next_sigaction(number, action, old);
  return shim_sigaction(action, old);
}

EXPORT int sigaction(int number, const struct sigaction* action, struct sigaction* old) {
  return act(number, action, old);
}

static sighandler_t set_handler(int number, sighandler_t handler, int flags, bool mask_itself) {
  struct sigaction action;
  struct sigaction old;
  if (handler == SIG_ERR) {
    errno = EINVAL;
    return SIG_ERR;
  }
  memset(&action, 0, sizeof(action));
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  if (mask_itself && sigaddset(&action.sa_mask, number) != 0) return SIG_ERR;
  return act(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

typedef sighandler_t (*SignalCall)(int number, sighandler_t handler);

static sighandler_t next_signal(const char* name, int number, sighandler_t handler) {
  SignalCall call = NULL;
  bind_next((void*)&call, name);
  if (call) return call(number, handler);
  errno = ENOSYS;
  return SIG_ERR;
}

static sighandler_t bsd(int number, sighandler_t handler) {
  if (!is_ours(number)) return next_signal("signal", number, handler);
  return set_handler(number, handler, atomic_load(&interrupts) ? 0 : SA_RESTART, true);
}

EXPORT sighandler_t signal(int number, sighandler_t handler) { return bsd(number, handler); }

EXPORT sighandler_t bsd_signal(int number, sighandler_t handler) { return bsd(number, handler); }

EXPORT sighandler_t ssignal(int number, sighandler_t handler) { return bsd(number, handler); }

sighandler_t __sysv_signal(int number, sighandler_t handler);

static sighandler_t sysv(int number, sighandler_t handler) {
  if (!is_ours(number)) return next_signal("__sysv_signal", number, handler);
  return set_handler(number, handler, (int)(SA_RESETHAND | SA_NODEFER), false);
}

EXPORT sighandler_t __sysv_signal(int number, sighandler_t handler) {
  return sysv(number, handler);
}

EXPORT sighandler_t sysv_signal(int number, sighandler_t handler) { return sysv(number, handler); }

EXPORT int siginterrupt(int number, int flag) {
  if (number == SIGBUS) atomic_store(&interrupts, flag != 0);
  if (!is_ours(number)) {
    int (*call)(int, int) = NULL;
    bind_next((void*)&call, "siginterrupt");
    if (call) return call(number, flag);
    errno = ENOSYS;
    return -1;
  }
  struct sigaction action;
  if (act(number, NULL, &action) != 0) return -1;
  action.sa_flags = flag ? action.sa_flags & ~SA_RESTART : action.sa_flags | SA_RESTART;
  return act(number, &action, NULL);
}
