/*
 * libpmemd-client: lets a program handle failures of pmemd's memory.
 *
 * - Guarded access: copy from or to mapped memory and get an error where a plain access would get
 *   SIGBUS.
 * - Registration: the library calls your function when part of a mapping fails, is about to be
 *   taken away, or is back; with a takeover, before anybody else is told.
 * - Delivery: raise in your own process the same SIGBUS that the kernel sends for such memory.
 *
 * Functions return 0 or -errno, unless they say otherwise, and leave errno alone. Any thread may
 * call any of them. Offsets and lengths are bytes; ranges are half-open. docs/client.md has
 * examples.
 *
 * A child of fork() has no registrations, and nothing runs in it: it may pass the ones that it
 * inherits only to pmemd_unregister(). It may register anew.
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
 * too. Sets *done, unless NULL, to the number of bytes copied, counted from the first: all of them,
 * or those before the first page that failed. No signal handler is installed or needed.
 * Async-signal-safe, unless it has to fall back (see docs/client.md, "Guarded access").
 *
 * -EFAULT: memory that failed, or isn't mapped, or not for this access. -EMFILE, -ENFILE: the
 * fallback found no descriptor.
 */
PMEMD_API int pmemd_read_guarded(void* dst, const void* src, size_t n, size_t* done);
PMEMD_API int pmemd_write_guarded(void* dst, const void* src, size_t n, size_t* done);

/*
 * Called for each event, one at a time, from one thread of the library, which has all signals
 * blocked. `event` is valid until it returns. If the event wants an answer
 * (PMEMD_EVENT_WANTS_ANSWER: a takeover; a removal with --grace), the return value is the answer:
 * PMEMD_ANSWER_DONE or PMEMD_ANSWER_REFUSED. Otherwise it is ignored.
 */
typedef int (*pmemd_callback)(const struct pmemd_event* event, void* context);

struct pmemd_registration; /* opaque */

/*
 * Registers the mapping of [offset, offset + length) of the file at `address`. The library opens
 * the file anew, in a descriptor table of its own: the program may close `fd`, sees no extra
 * descriptor, keeps its POSIX locks, and reads its own events of `fd` itself. The file stays open
 * until pmemd_unregister().
 *
 * -EBADF; -ENOTTY: not a file of a pmemd mount. -EINVAL: empty, or not within the file. -EIO,
 * -ENXIO: the namespace is removed. -ENOMEM, -EMFILE: too many. -EAGAIN: no thread could be made.
 * -ESRCH: the daemon can't see this process. -EPERM: no descriptor table of its own (a seccomp
 * filter). -ETIMEDOUT: the daemon didn't answer for two seconds.
 */
PMEMD_API int pmemd_register(int fd, uint64_t offset, uint64_t length, void* address,
                             pmemd_callback callback, void* context,
                             struct pmemd_registration** registration);

/*
 * Registers a takeover: when part of the range is poisoned, the callback is asked first, with
 * PMEMD_EVENT_TAKEOVER, and must answer within timeout_ms. Errors as above; and -EBADF: fd isn't
 * open for writing. -EEXIST: somebody else has taken over part of the range. -EINVAL: also
 * timeout_ms above 10,000 or 0.
 */
PMEMD_API int pmemd_register_takeover(int fd, uint64_t offset, uint64_t length, uint32_t timeout_ms,
                                      pmemd_callback callback, void* context,
                                      struct pmemd_registration** registration);

/*
 * Ends the registration. When this returns, the callback has finished and will not be called again;
 * called from that callback itself, it returns at once, and the callback is not called again. NULL
 * is allowed and does nothing.
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
