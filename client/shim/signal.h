// The shim's handling of SIGBUS: its own handler runs before the program's, and turns BUS_ADRERR on
// poisoned memory into the BUS_MCEERR_AR that the kernel sends.
//
// The shim records the program's action, reports it back as the program's own, and performs it as
// the kernel would. The kernel has our handler with the program's flags and mask, so the kernel
// implements masks, SA_NODEFER, SA_ONSTACK and SA_RESTART; we implement SA_RESETHAND, SIG_DFL and
// SIG_IGN.
//
// Thread contract: any thread and signal handler.
//
// Differs from the kernel: a SIGBUS that is blocked when memory fails ends the process before we
// see it, with the code BUS_ADRERR. docs/client.md lists all differences.
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int (*SigactionCall)(int number, const struct sigaction* action, struct sigaction* old);

enum ShimVerdict {
  SHIM_NOT_POISON,  // as it came: BUS_ADRERR
  SHIM_POISON       // BUS_MCEERR_AR at the page's address
};
// The handler asks it about the touched address. Async-signal-safe.
typedef enum ShimVerdict (*ShimJudge)(uintptr_t address);

// Takes SIGBUS over; its current action is recorded as the program's.
void shim_signal_start(SigactionCall real, ShimJudge judge);

// sigaction(SIGBUS, ...) as the program sees it.
int shim_sigaction(const struct sigaction* action, struct sigaction* old);
// Whether the program ignores SIGBUS. If so, a signal that it could ignore isn't sent.
bool shim_sigbus_is_ignored(void);

// Called in the child of a fork, whose parent may have been inside one of the functions above.
void shim_signal_forget(void);

#ifdef __cplusplus
}
#endif
