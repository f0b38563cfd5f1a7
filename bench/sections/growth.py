"""The same at several sizes. The exponent says how the time grows: 0 not at all, 1 as the size."""

import contextlib
import ctypes
import resource
import select
import sqlite3
import time

from measure import OURS, Growth, Row, at_most
from sections import GIB, KIB, MIB, TIB
from sections.failure import call_ns
from sections.removal import mapped, remove
from stage import PAGE, anonymous_bytes

EXPONENT = at_most(1.1)
LIBC = ctypes.CDLL(None, use_errno=True)
PUNCH_HOLE = 0x03  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


def names(stage, report, scale):
    """Once for each size. Single operations are done on 20,000 of the files, at random, and stand for
    all; create and readdir take all of them."""
    totals = {what: {} for what in ("create", "stat_cold", "readdir", "rename", "unlink")}
    on_tmpfs = {}
    counts = scale.upto((10**3, 10**4, 10**5, 10**6), 10**4)
    for count in counts:
        pool = stage.pool("4G")
        before = anonymous_bytes(pool.process.pid)
        workload = stage.workload("metadata", pool.files / "names", files=count, keep=1)
        report.say(f"{count} files")
        for what, ns in workload.run().items():
            if what in totals:
                totals[what][count] = [ns * count]
        workload.close()
        workload = stage.workload("metadata", stage.directory_on(stage.tmpfs) / "names", files=count)
        theirs = workload.run()
        if "stat_cold" in theirs:
            on_tmpfs[count] = [theirs["stat_cold"] * count]
        workload.close()
        last = (pool, count, before)
        if count != counts[-1]:
            pool.close()
    for what, points in totals.items():
        if points:
            report.add(Growth(f"{what.replace('_', ' ')}: n files (one round; by a sample)", "ns",
                              points, EXPONENT))
    if on_tmpfs:  # what of it is the CPU's caches
        report.add(Growth("  stat cold of a tmpfs", "ns", on_tmpfs))
    enable(report, *last)


def enable(report, pool, count, before):
    held = anonymous_bytes(pool.process.pid) - before
    times = []
    for _ in range(3):
        pool.call("DisableNamespace", namespace="namespace0.0")
        times.append(call_ns(pool, "EnableNamespace", namespace="namespace0.0"))
    report.add(Row(f"enable with {count:,} files", "ns", {OURS: times}, (at_most(5e9),)))
    report.add(Row(f"daemon's memory a file, {count:,} files", "bytes", {OURS: [held / count]},
                   (at_most(400),)))
    pool.stop()
    database = sum(file.stat().st_size for file in (pool.directory / "pool").glob("pool.db*"))
    report.add(Row("pool.db, a file", "bytes", {OURS: [database / count]}))


def untouched(stage, report, scale):
    pool = stage.pool()
    points = {}
    for size in (GIB, 8 * GIB, 64 * GIB, 256 * GIB, TIB):
        space = pool.create(size)
        mapped(stage, pool, space)
        points[size] = [remove(pool, space) for _ in range(scale.rounds)]
    report.add(Growth("removal of an untouched region, by bytes", "ns", points, at_most(0.1)))
    plain = stage.plain()
    (plain.mount / "file").touch()
    sizes = scale.upto((4 * MIB, 32 * MIB, 256 * MIB, GIB, 4 * GIB), 32 * MIB)
    report.add(Growth("plain FUSE, an inval a page, untouched, by bytes", "ns", {
        size: [plain.inval("pages", "file", 0, size)] for size in sizes}))


def mappers(stage, report, scale):
    pool = stage.pool()
    space = pool.create(GIB)
    points = {}
    for count in scale.upto((1, 4, 16, 64, 256), 16):
        points[count] = []
        for _ in range(scale.most(3)):
            them = stage.workload("processes", pool.mount / space["chardev"], processes=count,
                                  bytes=64 * KIB)
            points[count].append(remove(pool, space))
            them.close()
    report.add(Growth("removal, by mappers of 16 pages each", "ns", points, at_most(1)))


def proc_walk(stage, report, scale):
    pool = stage.pool()
    points = {}
    for count in scale.upto((10, 32, 100, 320, 1000), 32):
        them = stage.workload("processes", "-", processes=count)
        points[count] = [call_ns(pool, "Mappers") for _ in range(scale.rounds)]
        them.close()
    report.add(Growth("walk of /proc, by processes that are no mappers", "ns", points, at_most(1)))


def poison(stage, report, scale):
    pool = stage.pool()
    space = pool.create(GIB)
    whole = {"namespace": space["dev"], "offset": 0, "length": space["size"]}
    points = {}
    for count in scale.upto((1, 10, 100, 1000), 100):
        points[count] = []
        for _ in range(scale.most(2)):
            points[count].append(call_ns(pool, "InjectError", namespace=space["dev"], random=count,
                                         seed=1))
            pool.call("ClearErrors", **whole)
    report.add(Growth("poison: n ranges in one call", "ns", points, EXPONENT))


def make_fragmented(directory, count):
    """A file of `count` pages, each an extent of its own: all space is taken, then every other page
    is free."""
    with open(directory / "filler", "wb", buffering=0) as filler:
        for piece in (MIB, PAGE):
            with contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(piece))
        for i in range(count):
            if LIBC.fallocate(filler.fileno(), PUNCH_HOLE, ctypes.c_long(2 * i * PAGE),
                              ctypes.c_long(PAGE)):
                raise OSError(ctypes.get_errno(), "fallocate")
    (directory / "file").write_bytes(bytes(count * PAGE))


def extents(stage, report, scale):
    """One failure is one list of ranges: at one price."""
    points = {}
    for count in scale.upto((1, 10, 100, 1000, 5000), 100):
        pool = stage.pool("64M")
        make_fragmented(pool.files, count)
        points[count] = []
        for _ in range(scale.most(5)):
            points[count].append(call_ns(pool, "InjectError", file="/pmem0/file"))
            pool.call("ClearErrors", file="/pmem0/file")
        pool.close()
    report.add(Growth("poison of a file in n extents", "ns", points, at_most(0.3)))


def make_bad(pool, space, count):
    """Ranges of one page each, none beside another. As rows of the pool: one by one, each of them
    told to everybody, it would take minutes."""
    pool.stop()
    with contextlib.closing(sqlite3.connect(pool.directory / "pool/pool.db")) as database:
        region = int(space["region"].removeprefix("region"))
        database.execute("DELETE FROM badblocks")
        database.executemany("INSERT INTO badblocks (region, kind, start, length) VALUES (?,?,?,?)", (
            (region, kind, GIB + i * 2 * PAGE, PAGE) for i in range(count) for kind in (0, 1)))
        database.commit()
    pool.start()


def bad_ranges(stage, report, scale):
    """One more, and all of them cleared."""
    pool = stage.pool()
    space = pool.create(4 * GIB)
    whole = {"namespace": space["dev"], "offset": 0, "length": space["size"]}
    page = {"namespace": space["dev"], "offset": 0, "length": PAGE}
    points = {what: {} for what in ("poison a page", "clear a page", "clear all")}
    for count in scale.upto((1, 10, 100, 1000, 10**4, 10**5), 100):
        for all_of in points.values():
            all_of[count] = []
        for _ in range(scale.most(3)):
            make_bad(pool, space, count)
            for _ in range(5):
                points["poison a page"][count].append(call_ns(pool, "InjectError", **page))
                points["clear a page"][count].append(call_ns(pool, "ClearErrors", **page))
            points["clear all"][count].append(call_ns(pool, "ClearErrors", **whole))
    for what, all_of in points.items():
        report.add(Growth(f"{what}, of n bad ranges", "ns", all_of,
                          EXPONENT if what == "clear all" else at_most(0.1)))


class Subscribers:
    """This many readers of events. Each starts with an empty reply."""

    def __init__(self, pool, count):
        self._poll = select.epoll()
        self._by_fd = {}
        for _ in range(count):
            connection = pool.connect()
            connection.sendall(b'{"method":"org.pmemd.Monitor","parameters":{},"more":true}\0')
            self._by_fd[connection.fileno()] = connection
            self._poll.register(connection, select.EPOLLIN)
        self.wait()

    def wait(self):
        """Until all have got a message."""
        left = set(self._by_fd)
        deadline = time.monotonic() + 30
        while left:
            for fd, _ in self._poll.poll(1):
                if self._by_fd[fd].recv(1 << 16).endswith(b"\0"):
                    left.discard(fd)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(left)} subscribers got no event")

    def close(self):
        self._poll.close()
        for connection in self._by_fd.values():
            connection.close()


def fan_out(stage, report, scale):
    pool = stage.pool()
    page = {"namespace": "namespace0.0", "offset": 0, "length": PAGE}
    pool.call("List")
    until_all, of_call = {}, {}
    may_open = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100
    for count in scale.upto((1, 10, 100, 1000, 10**4), 100):
        if count > may_open:
            report.note(f"event to {count:,} subscribers: only {may_open:,} descriptors are allowed")
            continue
        subscribers = Subscribers(pool, count)
        until_all[count], of_call[count] = [], []
        for turn in range(scale.most(5)):
            method = "ClearErrors" if turn % 2 else "InjectError"
            begin = time.perf_counter_ns()
            of_call[count].append(call_ns(pool, method, **page))
            subscribers.wait()
            until_all[count].append(time.perf_counter_ns() - begin)
        subscribers.close()
    report.add(Growth("event: until the last of n subscribers has it", "ns", until_all,
                      at_most(1.1)))
    report.add(Growth("event: the call that caused it, n subscribers", "ns", of_call))


def hang_ups(stage, report, scale):
    """Subscribers that all go at once; done when the daemon has let go of them and answers."""
    pool = stage.pool()
    pool.call("Status")
    points = {}
    may_open = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100
    for count in scale.upto((100, 1000, 10**4), 100):
        if count > may_open:
            report.note(f"{count:,} hang-ups: only {may_open:,} descriptors are allowed")
            continue
        points[count] = []
        for _ in range(scale.most(3)):
            subscribers = Subscribers(pool, count)
            begin = time.perf_counter_ns()
            subscribers.close()
            while pool.call("Status")["subscribers"]:
                pass
            points[count].append(time.perf_counter_ns() - begin)
    report.add(Growth("n connections closed at once", "ns", points))
    most = max(points)
    report.add(Row(f"{most:,} connections closed at once", "ns", {OURS: points[most]},
                   (at_most(0.5e9),)))


PARTS = (untouched, mappers, proc_walk, poison, extents, bad_ranges, fan_out, hang_ups, names)
