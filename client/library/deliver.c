#include <errno.h>
#include <signal.h>
#include <stdbool.h>

#include "client/keeper/client_internal.h"
#include "client/pmemd_client.h"

// A forced signal that is blocked or ignored kills, as in force_sig_info().
static bool would_be_lost(void) {
  struct sigaction action;
  if (sigaction(SIGBUS, NULL, &action) == 0 && action.sa_handler == SIG_IGN) return true;
  sigset_t blocked;
  return pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0 && sigismember(&blocked, SIGBUS) == 1;
}

static int force_in_thread(siginfo_t* info) {
  const bool fatal = would_be_lost();
  if (fatal) signal(SIGBUS, SIG_DFL);
  const int result = raise_in_thread(info);
  sigset_t bus;
  sigemptyset(&bus);
  sigaddset(&bus, SIGBUS);
  if (fatal && result == 0) pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
  return result;
}

int pmemd_deliver(int code, void* address, unsigned lsb) {
  if (code != BUS_MCEERR_AR && code != BUS_MCEERR_AO) return -EINVAL;
  const int saved = errno;
  siginfo_t info = mce_siginfo(code, address, lsb);
  const int result = code == BUS_MCEERR_AR ? force_in_thread(&info) : raise_in_process(&info);
  errno = saved;
  return result;
}
