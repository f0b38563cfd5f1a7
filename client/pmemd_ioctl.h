/*
 * ioctl(2) on a file of a pmemd mount: what a program tells the daemon, and asks of it, about the
 * file that it has open. No library, no socket, no privilege: the descriptor is the proof of
 * access, and its last close the clean-up. C and C++; 32-bit programs too.
 *
 * Offsets and lengths are bytes of the file; ranges are half-open: [offset, offset + length).
 * Every call fails with ENOTTY on a file that isn't of a pmemd mount, and with EIO (file of an
 * fsdax) or ENXIO (others) while the namespace is removed.
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
 * --surprise and --abandon take a pin away. A pin goes with UNPIN, with its descriptor's last close
 * or with the process that asked for it, whichever comes first. Meanwhile its range can't be
 * truncated or punched (EBUSY).
 *
 * EINVAL: empty, or not within the file. EOPNOTSUPP: a file of a private namespace (its pages move)
 * or a p2p one (a buffer is a pin). ENOMEM: too many pins. ESRCH: the caller's process can't be
 * seen by the daemon (it is in another pid namespace).
 */
#define PMEMD_IOC_PIN _IOWR(PMEMD_IOCTL_MAGIC, 1, struct pmemd_pin)

/* Takes the id. ENOENT: this descriptor has no such pin; a removal may have taken it. */
#define PMEMD_IOC_UNPIN _IOW(PMEMD_IOCTL_MAGIC, 2, __u64)

struct pmemd_mapping {
  __u64 offset;
  __u64 length;
  __u64 address; /* where it begins, in the caller */
  __u64 id;      /* out */
};

/*
 * Tells the daemon of a mapping. It then knows it by range, and lists it. Goes as a pin does, but
 * holds nothing up. EINVAL, ENOMEM, ESRCH: as for a pin.
 */
#define PMEMD_IOC_MAP _IOWR(PMEMD_IOCTL_MAGIC, 3, struct pmemd_mapping)

/* Takes the id. ENOENT: this descriptor has no such mapping. */
#define PMEMD_IOC_UNMAP _IOW(PMEMD_IOCTL_MAGIC, 4, __u64)

/*
 * --- a private namespace's file (hmm0.1): system memory, whose pages can move to a device
 */
struct pmemd_migrate {
  __u64 offset; /* whole pages, as length */
  __u64 length;
  __u64 pages; /* out: how many went */
};

/*
 * Moves pages to the device, where the CPU can't touch them. The next load, store, read or write of
 * one brings it back, and with it those that the kernel reads ahead (none, after
 * madvise(MADV_RANDOM)). Fewer go than were asked for when some are there already, are touched
 * meanwhile, or find no room. Not for pages that are the buffer of I/O under way.
 *
 * EINVAL: empty, no whole pages, or not within the file. ENXIO: the namespace is removed. ENOTTY:
 * the file is of another mode. EAGAIN: too many calls at once.
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
 * Takes a buffer of zeros. It can be mapped, read and written, by everybody who has the file open;
 * what is in no buffer can't (EIO, SIGBUS). It goes with P2P_FREE, with its descriptor's last close
 * or with the process that took it, whichever comes first: then it is taken out of all mappings,
 * and zeroed. A removal waits for it, as for a pin; --surprise takes it.
 *
 * EINVAL: empty, no whole pages, or larger than the pool. ENOMEM: no room in one piece, or too many
 * buffers. ENOSPC: the host's disk is full. ENXIO: the namespace is removed. ESRCH: as for a pin.
 */
#define PMEMD_IOC_P2P_ALLOC _IOWR(PMEMD_IOCTL_MAGIC, 17, struct pmemd_p2p_alloc)

/*
 * Takes the offset. When it returns, no mapping has the buffer any more. ENOENT: no buffer of this
 * descriptor begins there. EAGAIN, ETIMEDOUT: the buffer is given up, and returns later.
 */
#define PMEMD_IOC_P2P_FREE _IOW(PMEMD_IOCTL_MAGIC, 18, __u64)

#endif
