// Raises the SIGBUS of failed memory in our own process. The kernel lets nobody, not even root,
// send another process a signal with a kernel code; but a thread may send one to itself. To send it
// to the whole process, a thread passes its own id: rt_sigqueueinfo() takes a thread's id for its
// process, and checks only that it is the caller's.
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
