// libpmemd-shim.so, for LD_PRELOAD: gives unmodified programs the SIGBUS codes and MAP_SYNC of real
// persistent memory on files of a pmemd mount. Here are the symbols that it stands in for; what
// they do is in shim_memory.c and shim_signal.c.
//
// A program that calls the kernel without libc (Go, a static one) isn't reached.

// <sys/mman.h> would make our mmap() an mmap64(); we are both.
#undef _FILE_OFFSET_BITS

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "client/keeper.h"
#include "client/shim_memory.h"
#include "client/shim_poison.h"
#include "client/shim_signal.h"

#define EXPORT __attribute__((visibility("default")))

static_assert(sizeof(off_t) == 8, "mmap() and mmap64() are one");

// --- what is below us: the next library's, and until that is known the kernel's

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
static SigactionCall next_sigaction;

static void* below_mremap(void* address, size_t length, size_t new_length, int flags,
                          void* target) {
  return next_mremap ? next_mremap(address, length, new_length, flags, target)
                     : raw_mremap(address, length, new_length, flags, target);
}

// --- what is ours

static bool probe(int fd, uint32_t* flags) {
  const int saved = errno;
  struct statfs where;
  struct pmemd_info info = {.version = 0};
  const bool ours = fstatfs(fd, &where) == 0 && where.f_type == FUSE_SUPER_MAGIC &&
                    ioctl(fd, PMEMD_IOC_INFO, &info) == 0;
  *flags = info.flags;
  errno = saved;
  return ours;
}

// Threads are there from the first mapping of ours on, and then for good: who maps once maps again.
static int attach(int fd, const struct keeper_range* range, KeeperFile* file, uint64_t* id) {
  const int result = keeper_start(shim_on_event);
  return result == 0 ? keeper_attach(fd, range, file, id) : result;
}

// The process that the record of SIGBUS is of: not that of a vfork child, which shares our memory.
static _Atomic pid_t owner;

static void before_fork(void) { shim_memory_before_fork(); }

static void after_fork_in_parent(void) { shim_memory_after_fork(false); }

static void after_fork_in_child(void) {
  atomic_store(&owner, getpid());
  keeper_forget();
  shim_memory_after_fork(true);
}

// Sets a pointer to a function: ISO C has no way from an address to one but by its bytes.
static void bind_next(void* function, const char* name) {
  void* const found = dlsym(RTLD_NEXT, name);
  if (found) memcpy(function, (const void*)&found, sizeof(found));
}

// The first of our symbols that is called may be before our constructor: another library's was
// first.
__attribute__((constructor)) static void start(void) {
  static atomic_flag started = ATOMIC_FLAG_INIT;
  if (atomic_flag_test_and_set(&started)) return;
  atomic_store(&owner, getpid());
  const struct shim_below raw = {raw_mmap, raw_munmap,          raw_mremap,   probe,
                                 attach,   keeper_attach_again, keeper_detach};
  shim_memory_start(&raw);  // dlsym() may allocate
  bind_next((void*)&next_mmap, "mmap");
  bind_next((void*)&next_munmap, "munmap");
  bind_next((void*)&next_mremap, "mremap");
  bind_next((void*)&next_sigaction, "sigaction");
  const struct shim_below below = {next_mmap, next_munmap,         below_mremap, probe,
                                   attach,    keeper_attach_again, keeper_detach};
  shim_memory_start(&below);
  shim_signal_start(next_sigaction, shim_judge);
  pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

// --- memory

EXPORT void* mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  start();
  return shim_mmap(address, length, protection, flags, fd, offset);
}

EXPORT void* mmap64(void* address, size_t length, int protection, int flags, int fd,
                    off64_t offset) {
  start();
  return shim_mmap(address, length, protection, flags, fd, offset);
}

EXPORT int munmap(void* address, size_t length) {
  start();
  return shim_munmap(address, length);
}

EXPORT void* mremap(void* address, size_t length, size_t new_length, int flags, ...) {
  start();
  va_list more;
  va_start(more, flags);
  void* target = va_arg(more, void*);
  va_end(more);
  return shim_mremap(address, length, new_length, flags, target);
}

// --- SIGBUS

static atomic_bool interrupts;  // siginterrupt(SIGBUS, 1) was called

EXPORT int sigaction(int number, const struct sigaction* action, struct sigaction* old) {
  start();
  if (number != SIGBUS || getpid() != atomic_load(&owner)) {
    return next_sigaction(number, action, old);
  }
  return shim_sigaction(action, old);
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
  return sigaction(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

typedef sighandler_t (*SignalCall)(int number, sighandler_t handler);

static sighandler_t next_signal(const char* name, int number, sighandler_t handler) {
  SignalCall call = NULL;
  bind_next((void*)&call, name);
  if (call) return call(number, handler);
  errno = ENOSYS;
  return SIG_ERR;
}

EXPORT sighandler_t signal(int number, sighandler_t handler) {
  start();
  if (number != SIGBUS) return next_signal("signal", number, handler);
  return set_handler(number, handler, atomic_load(&interrupts) ? 0 : SA_RESTART, true);
}

EXPORT sighandler_t bsd_signal(int number, sighandler_t handler) { return signal(number, handler); }

EXPORT sighandler_t ssignal(int number, sighandler_t handler) { return signal(number, handler); }

sighandler_t __sysv_signal(int number, sighandler_t handler);

EXPORT sighandler_t __sysv_signal(int number, sighandler_t handler) {
  start();
  if (number != SIGBUS) return next_signal("__sysv_signal", number, handler);
  return set_handler(number, handler, (int)(SA_RESETHAND | SA_NODEFER), false);
}

EXPORT sighandler_t sysv_signal(int number, sighandler_t handler) {
  return __sysv_signal(number, handler);
}

EXPORT int siginterrupt(int number, int flag) {
  start();
  if (number != SIGBUS) {
    int (*call)(int, int) = NULL;
    bind_next((void*)&call, "siginterrupt");
    if (call) return call(number, flag);
    errno = ENOSYS;
    return -1;
  }
  struct sigaction action;
  if (sigaction(number, NULL, &action) != 0) return -1;
  atomic_store(&interrupts, flag != 0);
  action.sa_flags = flag ? action.sa_flags & ~SA_RESTART : action.sa_flags | SA_RESTART;
  return sigaction(number, &action, NULL);
}
