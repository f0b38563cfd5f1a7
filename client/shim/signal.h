// SIGBUS as the shim has it: its own handler stands before the program's, and makes BUS_ADRERR on
// poisoned memory the BUS_MCEERR_AR that the kernel sends.
//
// The program's action is recorded, reported back as its own, and acted out as the kernel would
// have done. The kernel has our handler with the program's flags and mask, so that masks,
// SA_NODEFER, SA_ONSTACK and SA_RESTART are the kernel's work; SA_RESETHAND, SIG_DFL and SIG_IGN
// are ours.
//
// Thread contract: any thread and signal handler.
//
// Differs from the kernel: SIGBUS that is blocked when memory fails ends the process before we see
// it: then its code is BUS_ADRERR. docs/client.md has all.
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
// Asked in the handler, about the address that was touched. Async-signal-safe.
typedef enum ShimVerdict (*ShimJudge)(uintptr_t address);

// Takes SIGBUS over; what was its action until now is the program's.
void shim_signal_start(SigactionCall real, ShimJudge judge);

// sigaction(SIGBUS, ...) as the program sees it.
int shim_sigaction(const struct sigaction* action, struct sigaction* old);
// Does the program ignore it? Then a signal that it could ignore isn't sent.
bool shim_sigbus_is_ignored(void);

// In the child of a fork, whose parent may have been in the middle of a call of the above.
void shim_signal_forget(void);

#ifdef __cplusplus
}
#endif
