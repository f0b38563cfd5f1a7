/*
 * ioctl(2) on a file of a pmemd mount: how a program informs and asks the daemon about a file that
 * it has open. No library, no socket, no privilege: the descriptor proves access, and its last
 * close cleans up. For C and C++, and for 32-bit programs.
 *
 * Offsets and lengths are bytes of the file; ranges are half-open: [offset, offset + length).
 * Every call fails with ENOTTY on a file that isn't in a pmemd mount, and with EIO (file of an
 * fsdax) or ENXIO (others) while the namespace is removed, except the calls that end something or
 * only report: UNPIN, UNMAP, END_TAKEOVER, READ_EVENT, ANSWER, INFO, P2P_FREE.
 *
 * A descriptor that is open for reading is enough to ask about the file and be told of events. The
 * calls that change the file for others or make them wait (PIN, TAKEOVER, MIGRATE, P2P_ALLOC) need
 * one that is open for writing; otherwise EBADF.
 *
 * Limits are per user, over all namespaces, and charged to the user whose process makes the call,
 * no matter who opened the descriptor: 8,192 pins, mappings, takeovers and buffers together, 1,024
 * processes that have or had some of these (both ENOMEM), 64 calls of MIGRATE and P2P_FREE in
 * flight (EAGAIN). All users together have at most 57,344, 12,288 and 3,072; the rest is reserved
 * for root. docs/security.md.
 */
#ifndef PMEMD_IOCTL_H
#define PMEMD_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PMEMD_IOCTL_MAGIC 0xDA

struct pmemd_pin {
  __u64 offset;
  __u64 length;
  __u64 id; /* out */
};

/*
 * Pins a range for I/O, as the kernel pins pages: the namespace is not removed under it. A removal
 * that is not forced is refused; a forced one waits for the pin, and gives up at its deadline; only
 * --surprise and --abandon take a pin away. A pin ends with UNPIN, with its descriptor's last close
 * or with the process that asked for it, whichever comes first. Until then its range can't be
 * truncated or punched (EBUSY).
 *
 * EBADF: not open for writing. EINVAL: empty, or not within the file. EOPNOTSUPP: a file of a
 * private namespace (its pages move) or a p2p one (a buffer is a pin). ENOMEM: the user has too
 * many claims, or too many processes that have some. ESRCH: the daemon can't see the caller's
 * process (it is in another pid namespace).
 */
#define PMEMD_IOC_PIN _IOWR(PMEMD_IOCTL_MAGIC, 1, struct pmemd_pin)

/* Takes the id. ENOENT: this descriptor has no such pin; a removal may have taken it. */
#define PMEMD_IOC_UNPIN _IOW(PMEMD_IOCTL_MAGIC, 2, __u64)

struct pmemd_mapping {
  __u64 offset;
  __u64 length;
  __u64 address; /* of its start, in the caller */
  __u64 id;      /* out */
};

/*
 * Registers a mapping. The daemon then knows it by range, lists it, and tells its owner what
 * happens to the range (READ_EVENT, poll). It ends as a pin does, but holds nothing up. EINVAL,
 * ENOMEM, ESRCH: as for a pin.
 */
#define PMEMD_IOC_MAP _IOWR(PMEMD_IOCTL_MAGIC, 3, struct pmemd_mapping)

/* Takes the id. Its unread events are dropped. ENOENT: this descriptor has no such mapping. */
#define PMEMD_IOC_UNMAP _IOW(PMEMD_IOCTL_MAGIC, 4, __u64)

/*
 * --- what happens to ranges
 *
 * A descriptor on which mappings are registered gets an event for each of them that a failed range
 * touches: one for each contiguous range, in the coordinates of the file and of the mapping; for a
 * removal, one for the whole mapping (none for private memory, which stays). A takeover gets only
 * events of kind TAKEOVER. "This descriptor" is the open file description: dup(2) and fork(2) share
 * it, and an event that one sharer reads is gone for the others. It outlives removals, and so do
 * its registrations.
 *
 * poll(2) and epoll report POLLPRI as long as there is an event to read (and POLLIN and POLLOUT
 * always, as for any file). At most PMEMD_EVENTS_MAX wait; beyond that the oldest are dropped, and
 * the next one read tells how many.
 */
#define PMEMD_EVENTS_MAX 64

enum pmemd_event_kind {
  PMEMD_EVENT_POISON = 1,     /* touching the range gets SIGBUS, read(2) EIO */
  PMEMD_EVENT_PRE_REMOVE = 2, /* the range is about to be taken away; its bytes are still good */
  PMEMD_EVENT_REMOVED = 3,    /* it is gone */
  PMEMD_EVENT_ENABLED = 4,    /* it is back, or stays after all; the same mappings work */
  PMEMD_EVENT_CLEARED = 5,    /* it was poisoned, and was written anew */
  PMEMD_EVENT_TAKEOVER = 6    /* it is poisoned; nobody else was told yet: it waits for an answer */
};

/* The daemon waits for an answer (ANSWER), for at most timeout_ms. Always set with TAKEOVER; with
 * PRE_REMOVE if there is a grace time. */
#define PMEMD_EVENT_WANTS_ANSWER 0x1u

struct pmemd_event {
  __u64 seq;     /* of the failure; the number that `pmemctl monitor` shows */
  __u64 time_ns; /* CLOCK_REALTIME */
  __u32 kind;
  __u32 flags;
  __u64 id;     /* of the mapping or takeover that gets it */
  __u64 offset; /* in the file, with length: the part of the failed range that is registered */
  __u64 length;
  __u64 address; /* of that part in the mapping; 0 for a takeover */
  __u64 missed;  /* how many of this descriptor's events were dropped before it */
  __u32 timeout_ms;
  __u32 reserved;
};

/* Takes the oldest event. EAGAIN: there is none. */
#define PMEMD_IOC_READ_EVENT _IOR(PMEMD_IOCTL_MAGIC, 5, struct pmemd_event)

enum pmemd_answer_value {
  PMEMD_ANSWER_DONE = 1,   /* pre-remove: let go. takeover: handled, tell nobody else */
  PMEMD_ANSWER_REFUSED = 2 /* takeover: do what you would have done without me */
};

struct pmemd_answer {
  __u64 seq; /* of the event, and its */
  __u64 id;
  __u32 answer;
  __u32 reserved; /* 0 */
};

/* If several events share seq and id (a failed range that is several ranges of the file), answers
 * the oldest unanswered one.
 *
 * ENOENT: no such event waits for an answer on this descriptor; the answer may be too late.
 * EINVAL: not a valid answer (a pre-remove takes only DONE), or reserved isn't 0. */
#define PMEMD_IOC_ANSWER _IOW(PMEMD_IOCTL_MAGIC, 6, struct pmemd_answer)

struct pmemd_takeover {
  __u64 offset;
  __u64 length;
  __u32 timeout_ms; /* 1 to 10,000: how long the daemon waits for an answer */
  __u32 reserved;   /* 0 */
  __u64 id;         /* out */
};

/*
 * Registers a takeover: when part of the range is poisoned, the daemon asks this process before it
 * tells anyone else or takes anything away. The pages stay mapped meanwhile, so that their contents
 * can be saved and written anew. If the process refuses, times out or ends, the failure goes on as
 * without a takeover: access ends, mappers are told. After DONE, access ends to what is still
 * poisoned, but mappers aren't told. EINVAL: as for a pin, or a timeout that isn't allowed, or
 * reserved isn't 0. EBADF, ENOMEM, ESRCH: as for a pin. EEXIST: another descriptor has taken over
 * part of the range.
 */
#define PMEMD_IOC_TAKEOVER _IOWR(PMEMD_IOCTL_MAGIC, 7, struct pmemd_takeover)

/* Takes the id. Its unread events are dropped. ENOENT: this descriptor has no such takeover. */
#define PMEMD_IOC_END_TAKEOVER _IOW(PMEMD_IOCTL_MAGIC, 8, __u64)

struct pmemd_query {
  __u64 offset; /* in: of the range. out: of the first bad range in it */
  __u64 length; /* in: of the range. out: of the bad range; 0: all of it is good */
};

/* Which bytes are known to be poisoned (known and touched; not latent ones). EINVAL: empty, or not
 * within the file. */
#define PMEMD_IOC_QUERY _IOWR(PMEMD_IOCTL_MAGIC, 9, struct pmemd_query)

#define PMEMD_INFO_REFAULT_MCEERR 0x1u /* a refault on poison is BUS_MCEERR_AR (else ADRERR) */
#define PMEMD_INFO_EARLY_KILL 0x2u     /* mappers get BUS_MCEERR_AO, unless they say otherwise */
/* MAP_SYNC may be granted: a store needs no msync to outlive the program that made it.
 * What it doesn't outlive here: docs/posix.md, Durability. */
#define PMEMD_INFO_SYNC 0x4u
/* The device has a holder that is notified of failures (fsdax only): mappers get BUS_MCEERR_AO
 * before a removal. */
#define PMEMD_INFO_HOLDER 0x8u

struct pmemd_info {
  __u32 version; /* of this interface: 1 */
  __u32 flags;
  __u32 clear_unit; /* bytes: writing whole units clears poison */
  __u32 reserved;
};

/* How this file behaves; works in any state of the namespace. */
#define PMEMD_IOC_INFO _IOR(PMEMD_IOCTL_MAGIC, 10, struct pmemd_info)

/*
 * --- a private namespace's file (hmm0.1): system memory, whose pages can move to a device
 */
struct pmemd_migrate {
  __u64 offset; /* whole pages, like length */
  __u64 length;
  __u64 pages; /* out: how many moved */
};

/*
 * Moves pages to the device, where the CPU can't touch them. The next load, store, read or write of
 * a page brings it back, together with the pages that the kernel reads ahead (none, after
 * madvise(MADV_RANDOM)). Fewer pages move than were asked for if some are on the device already,
 * are touched meanwhile, or find no room. Not for pages that are the buffer of I/O in flight.
 *
 * EBADF: not open for writing. EINVAL: empty, not whole pages, or not within the file. ENXIO: the
 * namespace is removed. ENOTTY: the file is of another mode. EAGAIN: the user has too many calls at
 * once.
 */
#define PMEMD_IOC_MIGRATE _IOWR(PMEMD_IOCTL_MAGIC, 16, struct pmemd_migrate)

/*
 * --- a p2p namespace's file (p2p0.1): a pool from which buffers are taken
 */
struct pmemd_p2p_alloc {
  __u64 length; /* whole pages */
  __u64 offset; /* out: where the buffer begins in the file */
};

/*
 * Allocates a zeroed buffer. Everybody who has the file open can map, read and write it; memory
 * that is in no buffer can't be accessed (EIO, SIGBUS). The buffer ends with P2P_FREE, with its
 * descriptor's last close or with the process that took it, whichever comes first: then it is
 * unmapped everywhere, and zeroed. A removal waits for it, as for a pin; --surprise takes it.
 *
 * EBADF: not open for writing. EINVAL: empty, not whole pages, or larger than the pool. ENOMEM: no
 * contiguous room, or as for a pin. ENOSPC: the host's disk is full. ENXIO: the namespace is
 * removed. ENOTTY: the file is of another mode. ESRCH: as for a pin.
 */
#define PMEMD_IOC_P2P_ALLOC _IOWR(PMEMD_IOCTL_MAGIC, 17, struct pmemd_p2p_alloc)

/*
 * Takes the offset. When it returns, no mapping has the buffer any more. ENOENT: this descriptor
 * has no buffer that begins there. EAGAIN, ETIMEDOUT: the buffer is given up, and returns later.
 */
#define PMEMD_IOC_P2P_FREE _IOW(PMEMD_IOCTL_MAGIC, 18, __u64)

#endif
