/*
 * libpmemd-client: what failures of pmemd's memory look like to a program that wants to know.
 *
 * - Guarded access: copy from or to mapped memory and get an error where a plain access would get
 *   SIGBUS.
 * - Registration: a function of yours is called when part of a mapping fails, is about to be taken
 *   away, or is back; and, as a takeover, before anybody else is told.
 * - Delivery: the very SIGBUS that the kernel sends for such memory, raised in your own process.
 *
 * Everything returns 0 or -errno, unless it says otherwise; errno is left alone. Any thread may
 * call anything. Offsets and lengths are bytes; ranges are half-open. docs/client.md has examples.
 *
 * A child of fork() has no registrations, and nothing runs in it: what it inherits may only be
 * given to pmemd_unregister(). It may register anew.
 */
#ifndef PMEMD_CLIENT_H
#define PMEMD_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "pmemd_ioctl.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifndef PMEMD_API
#define PMEMD_API __attribute__((visibility("default")))
#endif

/* 1: a file of a pmemd mount; 0: another one. -EBADF: no open file. Async-signal-safe. */
PMEMD_API int pmemd_is_ours(int fd);

/*
 * Copies n bytes. `src` (read) or `dst` (write) may lie in memory that fails; the other side may,
 * too. *done, unless NULL, becomes the number of bytes that were copied, the first ones: all of
 * them, or those before the first page that failed. No signal handler is installed or needed.
 * Async-signal-safe, unless it has to fall back (see docs/client.md, "Guarded access").
 *
 * -EFAULT: memory that failed, or isn't mapped, or not for this access. -EMFILE, -ENFILE: the
 * fallback found no descriptor.
 */
PMEMD_API int pmemd_read_guarded(void* dst, const void* src, size_t n, size_t* done);
PMEMD_API int pmemd_write_guarded(void* dst, const void* src, size_t n, size_t* done);

/*
 * Called with each event, one at a time, from one thread of the library, which has all signals
 * blocked. `event` is good until it returns. What it returns is the answer to an event that wants
 * one (PMEMD_EVENT_WANTS_ANSWER: a takeover; a removal with --grace): PMEMD_ANSWER_DONE or
 * PMEMD_ANSWER_REFUSED. Else it is ignored.
 */
typedef int (*pmemd_callback)(const struct pmemd_event* event, void* context);

struct pmemd_registration; /* opaque */

/*
 * Registers the mapping of [offset, offset + length) of the file at `address`. The library opens
 * the file anew, in a descriptor table of its own: the program may close `fd`, sees no descriptor
 * more, keeps its POSIX locks, and reads its own events of `fd` itself. The file stays open until
 * pmemd_unregister().
 *
 * -EBADF; -ENOTTY: no file of a pmemd mount. -EINVAL: empty, or not within the file. -EIO, -ENXIO:
 * the namespace is removed. -ENOMEM, -EMFILE: too many. -EAGAIN: no thread could be made. -ESRCH:
 * the daemon can't see this process. -EPERM: no descriptor table of its own (a seccomp filter).
 * -ETIMEDOUT: the daemon didn't answer for two seconds.
 */
PMEMD_API int pmemd_register(int fd, uint64_t offset, uint64_t length, void* address,
                             pmemd_callback callback, void* context,
                             struct pmemd_registration** registration);

/*
 * Asks to be asked first when part of the range is poisoned: PMEMD_EVENT_TAKEOVER, to be answered
 * within timeout_ms. As above; and -EBADF: fd isn't open for writing. -EEXIST: part of the range
 * is taken over by somebody else. -EINVAL: also timeout_ms above 10,000 or 0.
 */
PMEMD_API int pmemd_register_takeover(int fd, uint64_t offset, uint64_t length, uint32_t timeout_ms,
                                      pmemd_callback callback, void* context,
                                      struct pmemd_registration** registration);

/*
 * Ends it. When this returns the callback is over and will not be called again; called from that
 * callback itself it returns at once, and the callback is not called again. NULL is nothing.
 */
PMEMD_API void pmemd_unregister(struct pmemd_registration* registration);

/*
 * Raises SIGBUS as the kernel does for failed memory, with si_addr and si_addr_lsb (12: a page).
 * code BUS_MCEERR_AR: in the calling thread, forced: it ends the process if SIGBUS is blocked or
 * ignored. code BUS_MCEERR_AO: to the process; may be blocked and ignored. -EINVAL: another code.
 * Async-signal-safe.
 */
PMEMD_API int pmemd_deliver(int code, void* address, unsigned lsb);

#ifdef __cplusplus
}
#endif

#endif
