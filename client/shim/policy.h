// Who gets BUS_MCEERR_AO: the kernel's own rule, read from the kernel's own flags.
//
// A thread's policy (prctl(PR_MCE_KILL)) can be asked for by that thread only. But its flags stand
// in /proc/self/task/TID/stat, so that of all threads can be read, however it was set: by libc's
// prctl, by a raw system call, before the exec. Which bits they are is tried out on our own thread.
//
// Thread contract: one thread, that of the shim's which sends the signals.
// Models: mm/memory-failure.c find_early_kill_thread() @v6.12; differs: the default is the
// namespace's, not vm.memory_failure_early_kill.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mce_bits {
  uint32_t process;  // the thread has a policy of its own
  uint32_t early;    // and it is early
};

// Finds the bits, and leaves the calling thread with the policy "late". False: not to be found (no
// /proc, or flags that mean something else).
bool shim_find_mce_bits(struct mce_bits* bits);

// Does any of these threads' flags say early, or nothing, where nothing means early?
bool shim_wants_early(const uint32_t* flags, int count, struct mce_bits bits, bool default_early);

// The same for the threads of this process, save those that are skipped; `default_early` if they
// can't be read.
bool shim_process_wants_early(bool default_early, bool (*skip)(int32_t thread));

#ifdef __cplusplus
}
#endif
