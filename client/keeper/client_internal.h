// Functions that the library and the shim share, and tests call.
//
// Thread contract: anything from any thread, and from signal handlers.
#pragma once

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The fallback of guarded access. Adds the number of copied bytes to *done.
int guarded_copy_by_pipe(void* dst, const void* src, size_t n, size_t* done);

// A SIGBUS with this code, address and lsb.
siginfo_t mce_siginfo(int code, const void* address, unsigned lsb);
// Sends it to the calling thread, or to its process. -errno.
int raise_in_thread(siginfo_t* info);
int raise_in_process(siginfo_t* info);

#ifdef __cplusplus
}
#endif
