// Decides who gets BUS_MCEERR_AO by the kernel's own rule, from the kernel's own flags.
//
// Only the thread itself can ask for its policy (prctl(PR_MCE_KILL)). But its flags are in
// /proc/self/task/TID/stat, so the policies of all threads can be read, however they were set: by
// libc's prctl, by a raw system call, before the exec. We find out which bits they are by setting
// them on our own thread.
//
// Thread contract: one thread, the shim's that sends the signals.
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

// Finds the bits, and leaves the calling thread with the policy "late". False: they can't be found
// (no /proc, or flags that mean something else).
bool shim_find_mce_bits(struct mce_bits* bits);

// Whether any of these threads' flags say early, or say nothing and the default is early.
bool shim_wants_early(const uint32_t* flags, int count, struct mce_bits bits, bool default_early);

// The same for the threads of this process, except those that `skip` accepts; `default_early` if
// they can't be read.
bool shim_process_wants_early(bool default_early, bool (*skip)(int32_t thread));

#ifdef __cplusplus
}
#endif
