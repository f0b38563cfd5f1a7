// The SIGBUS of failed memory, raised in our own process. The kernel lets nobody send another
// process a signal with a code of its own, not even root; but a thread may send it to itself. That
// thread then names the whole process, where the signal is for any of its threads
// (rt_sigqueueinfo() takes the id of a thread for its process, and asks only whether it is the
// caller's).
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/keeper/client_internal.h"

siginfo_t mce_siginfo(int code, const void* address, unsigned lsb) {
  siginfo_t info;
  memset(&info, 0, sizeof(info));
  info.si_signo = SIGBUS;
  info.si_code = code;
  info.si_addr = (void*)(uintptr_t)address;
  info.si_addr_lsb = (short)lsb;
  return info;
}

int raise_in_thread(siginfo_t* info) {
  const long result = syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), info->si_signo, info);
  return result == 0 ? 0 : -errno;
}

int raise_in_process(siginfo_t* info) {
  const long result = syscall(SYS_rt_sigqueueinfo, gettid(), info->si_signo, info);
  return result == 0 ? 0 : -errno;
}
