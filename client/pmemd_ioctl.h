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
 * EINVAL: empty, or not within the file. ENOMEM: too many pins. ESRCH: the caller's process can't be
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

#endif
