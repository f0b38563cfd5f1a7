"""Memory: the daemon's own, and the page cache."""

import os

from measure import OURS, Row, at_most
from sections import GIB, MIB
from sections.core import core_bench
from stage import anonymous_bytes, meminfo


def leases(stage, report, scale):
    """In core alone, for a terabyte; and through the mount, for as much as there is memory for."""
    sizes = core_bench(scale, only="increment$")["bytes"]
    for name, most in (("1 TiB lent by 2 MiB, at most", 64 * MIB),
                       ("1 TiB lent by 2 MiB, all of it", 64 * MIB),
                       ("lease, of 10^5 in one inode", None),
                       ("lease, of 10^5 in 1,000 inodes", None),
                       ("registered pagemap, of 10^4", None)):
        report.add(Row(name, "bytes", {OURS: [sizes[name]]},
                       () if most is None else (at_most(most),)))
    report.note(f"leases: every other page of 1 TiB, lent one by one, would take "
                f"{sizes['lease, of 10^5 in one inode'] * 2**27 / 2**30:.1f} GiB")
    pool = stage.pool()
    size = scale.bytes(4 * GIB)
    space = pool.create(size)
    before = anonymous_bytes(pool.process.pid)
    toucher = stage.workload("processes", pool.mount / space["chardev"], bytes=space["size"])
    held = anonymous_bytes(pool.process.pid) - before
    lent = pool.call("Status")["lent_bytes"]
    toucher.close()
    report.add(Row(f"daemon's memory for {lent // MIB} MiB lent", "bytes", {OURS: [max(held, 0)]}))


def held_twice(stage, report, scale, name, place):
    """How much memory a file that is read takes, its bytes in the image included."""
    size = scale.bytes(GIB)
    pool = stage.pool("2G", place=place)
    path = pool.files / "file"
    with open(path, "wb") as file:
        for _ in range(size // MIB):
            file.write(b"x" * MIB)
        os.fsync(file.fileno())
    pool.stop()
    for image in (pool.directory / "pool").glob("*.img"):
        fd = os.open(image, os.O_RDWR)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    pool.start()
    before = meminfo()["Cached"]
    with open(path, "rb", buffering=0) as file:
        while file.read(MIB):
            pass
    held = meminfo()["Cached"] - before
    if place == stage.tmpfs:
        held += size  # the medium itself: there before
    report.add(Row(name, "×", {OURS: [held / size]}))


def cache(stage, report, scale):
    held_twice(stage, report, scale, "memory of a file that is read, disk pool", stage.host)
    held_twice(stage, report, scale, "memory of a file that is read, tmpfs pool", stage.tmpfs)


PARTS = (leases, cache)
