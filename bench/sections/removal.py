"""Forced removal: what the caller waits for."""

import statistics
import time

from measure import OURS, Row, alternate, at_most, show
from sections import GIB, KIB, MIB, TIB
from stage import PAGE

MS = 1e6


def remove(pool, space, steps=None):
    """Nanoseconds of the call. It is enabled again afterwards. `steps`: a list that gets what the
    daemon says of its own steps."""
    begin = time.perf_counter_ns()
    reports = pool.call("DisableRegion", region=space["region"], force=True)["reports"]
    took = time.perf_counter_ns() - begin
    if steps is not None:
        steps.append({step["name"]: step["us"] for step in reports[0]["steps"]})
    pool.call("EnableRegion", region=space["region"])
    return took


def told(steps):
    """Where the time goes: the medians, of those steps that take any."""
    medians = {name: statistics.median(one[name] for one in steps) for name in steps[0]}
    return "its steps: " + ", ".join(f"{name} {show(us * 1e3, 'ns')}"
                                     for name, us in medians.items() if us >= 50)


def mapped(stage, pool, space, processes=1):
    """Processes that map all of it and touch nothing."""
    return stage.workload("processes", pool.mount / space["chardev"], processes=processes)


def untouched(stage, report, scale):
    pool, plain = stage.pool(), stage.plain()
    spaces = {size: pool.create(size) for size in (GIB, 32 * GIB, TIB)}
    for space in spaces.values():
        mapped(stage, pool, space)
    steps = []
    times = alternate(scale.rounds * 3, {
        size: lambda space=space: remove(pool, space, steps) for size, space in spaces.items()})
    (plain.mount / "file").touch()
    length = scale.bytes(4 * GIB)
    pages = [plain.inval("pages", "file", 0, length) * (TIB / length)
             for _ in range(scale.most(3))]
    report.add(Row("removal of an untouched 1 TiB", "ns",
                   {OURS: times[TIB], "1 GiB": times[GIB]}, (at_most(1.5, "1 GiB"), at_most(10 * MS)),
                   told(steps)))
    report.add(Row("  page by page: inval of each", "ns",
                   {OURS: times[TIB][:len(pages)], "page by page": pages},
                   (at_most(1 / 1000, "page by page"),),
                   f"from {length // MIB} MiB to 1 TiB extrapolated"))


def resident(stage, report, scale, name, access, how):
    """All pages in memory, mapped by a process; against the kernel's own work, bare, on a mount that
    has the same limits."""
    size = scale.bytes(GIB)
    pool, plain = stage.pool(), stage.plain()
    plain.tune_as(pool.mount)
    space = pool.create(size)
    with open(plain.mount / "file", "wb") as file:
        file.truncate(space["size"])
    plain.inval(how, "file", 0, 0)  # which opens it

    def sample(path, work):
        toucher = stage.workload("processes", path, bytes=space["size"], access=access)
        ns = work()
        toucher.close()
        return ns

    steps = []
    times = alternate(scale.most(5), {
        OURS: lambda: sample(pool.mount / space["chardev"], lambda: remove(pool, space, steps)),
        "the kernel's": lambda: sample(plain.mount / "file",
                                       lambda: plain.inval(how, "file", 0, space["size"]))})
    report.add(Row(name, "ns", times, (at_most(1.3, "the kernel's"),), told(steps)))


def clean(stage, report, scale):
    resident(stage, report, scale, "removal, 1 GiB resident and clean", "read", "range")


def dirty(stage, report, scale):
    resident(stage, report, scale, "removal, 1 GiB dirty", "write", "flush")


def mappers(stage, report, scale):
    pool = stage.pool()
    space = pool.create(GIB)
    path = pool.mount / space["chardev"]
    count = 16 if scale.quick else 256
    steps = []

    def sample():
        them = stage.workload("processes", path, processes=count, bytes=64 * KIB)
        ns = remove(pool, space, steps)
        them.close()
        return ns

    times = [sample() for _ in range(scale.most(5))]
    report.add(Row(f"removal, {count} mappers of {64 * KIB // PAGE} pages each", "ns",
                   {OURS: times}, (at_most(100 * MS),), told(steps)))


PARTS = (untouched, clean, dirty, mappers)
