"""Through mappings: warm loads and stores, first touch, msync."""

from measure import OURS, Row, at_least, at_most
from sections import GIB, HOST, MIB, PLAIN, TMPFS, compare, compare_all
from stage import PAGE

TMPFS_FRESH = "tmpfs, fresh"

def gb_per_s(ns_a_page):
    return PAGE / ns_a_page


def warm(stage, report, scale):
    ours = stage.pool("2G")
    theirs = stage.directory_on(stage.tmpfs)
    # Larger than a CPU's caches; short, so that whatever else runs disturbs both in turns alike.
    size = scale.bytes(64 * MIB)
    for order, unit, convert in (("seq", "GB/s", gb_per_s), ("random", "M/s", lambda ns: 1e3 / ns)):
        for workload in ("load", "store"):
            for threads in (1, 2):
                how = "in order" if order == "seq" else "at random"
                options = {"size": size, "order": order, "threads": threads}
                compare(stage, report, scale, f"warm {workload}s {how}, {threads} thread"
                        + "s" * (threads > 1), unit,
                        {OURS: (workload, ours.files / "warm", options),
                         TMPFS: (workload, theirs / "warm", options)},
                        convert=convert, targets=(at_least(0.95, TMPFS),),
                        rounds=scale.rounds * 2)


def store_again(stage, report, scale):
    """More than the dirty limits let an ordinary FUSE mount have, or, unless they are raised, anybody."""
    ours = stage.pool("3G", options=["--raise-dirty-limits"])
    theirs = stage.directory_on(stage.tmpfs)
    size = scale.bytes(2 * GIB)
    options = {"size": size, "order": "seq", "threads": 1, "file": "same"}
    compare(stage, report, scale, "2 GiB stored again and again", "GB/s",
            {OURS: ("store", ours.files / "large", options),
             TMPFS: ("store", theirs / "large", options)},
            convert=gb_per_s, rounds=scale.most(5), targets=(at_least(0.95, TMPFS),))


def first_touch(stage, report, scale):
    """What isn't in memory yet. A tmpfs has nothing that it could fetch: its pages are made at the
    first touch (fresh), or there already."""
    ours, plain = stage.pool("1G"), stage.plain()
    tmpfs = stage.directory_on(stage.tmpfs)
    size = scale.bytes(256 * MIB)

    def row(name, targets, note="", **options):
        options = {"size": size, **options}
        fresh = {**options, "state": "fresh"}
        there = {**options, "state": "there", "before": "load"}
        compare(stage, report, scale, name, "ns", {
            OURS: ("touch", ours.files / "touch", options),
            TMPFS_FRESH: ("touch", tmpfs / "fresh", fresh),
            TMPFS: ("touch", tmpfs / "there", there),
            PLAIN: ("touch", plain.files / "touch", options)},
            targets=targets, note=note)

    # Against the tmpfs that has nothing left to do but to map.
    row("first touch, read in order, a page", (at_most(2.5, TMPFS),))
    row("first touch, write in order, a page", (at_most(4, TMPFS),), access="write")
    row("first touch, read at random, a page", (at_most(0.5, PLAIN),), order="random")
    row("first touch, MADV_RANDOM, a page", (at_most(0.5, PLAIN),), order="random", advice="random")
    row("first touch, write at random, a page", (), order="random", access="write")


def prefaulted(stage, report, scale):
    """Brought in first, by a program or by pmemctl; then touched through a mapping that has none of
    it yet."""
    ours = stage.pool("1G")
    tmpfs = stage.directory_on(stage.tmpfs)
    path = ours.files / "touch"
    size = scale.bytes(256 * MIB)
    command = f"{ours.programs / 'pmemctl'} --socket {ours.socket} prefault {path} >/dev/null"
    for name, before, access in (("read after pmemctl prefault", command, "read"),
                                 ("write after pmemctl prefault", command, "write"),
                                 ("read after MADV_WILLNEED", "willneed", "read")):
        options = {"size": size, "order": "random", "pages": 65536, "access": access}
        samples = compare_all(stage, scale.rounds, {
            OURS: ("touch", path, {**options, "before": before}),
            TMPFS: ("touch", tmpfs / "there", {**options, "before": "load", "state": "there"}),
            TMPFS_FRESH: ("touch", tmpfs / "fresh", {**options, "state": "fresh"})})
        report.add(Row(f"random {name}", "ns", {
            subject: [one["ns"] for one in all_of] for subject, all_of in samples.items()},
            (at_most(2, TMPFS),)))
        if access == "read":
            report.add(Row("  which took, a page", "ns", {
                OURS: [one["prefault_ns"] for one in samples[OURS]]}))


def msync(stage, report, scale):
    ours, plain = stage.pool("2G"), stage.plain()
    options = {"size": 64 * MIB if not scale.quick else MIB}
    compare(stage, report, scale, "msync of a dirty 4 KiB", "ns", {
        OURS: ("msync", ours.files / "msync", options),
        "plain's getattr": ("getattr", plain.files / "getattr", {}),
        PLAIN: ("msync", plain.files / "msync", options)},
        targets=(at_most(2, "plain's getattr"),))
    compare(stage, report, scale, "a round trip (getattr)", "ns", {
        OURS: ("getattr", ours.files / "getattr", {}),
        PLAIN: ("getattr", plain.files / "getattr", {})})
    large(stage, report, scale, ours, plain)


def large(stage, report, scale, ours, plain):
    size = scale.bytes(GIB)
    options = {"size": size, "dirty": size}
    samples = compare_all(stage, scale.most(5), {
        OURS: ("msync", ours.files / "large", options),
        TMPFS: ("msync", stage.directory_on(stage.tmpfs) / "large", options),
        PLAIN: ("msync", plain.files / "large", options)})

    def rates(subject, what):
        return [size / one[what] for one in samples[subject]]

    report.add(Row("msync of a dirty 1 GiB", "GB/s", {OURS: rates(OURS, "ns")}, (at_least(3),)))
    # A mount with a small dirty limit has little left for msync: its stores have waited.
    report.add(Row("1 GiB stored, then msync", "GB/s", {
        subject: rates(subject, "stored_ns") for subject in samples}))


def on_disk(stage, report, scale):
    """The pool on the host's disk, beside a file on that disk: what a user with no memory to spare
    has."""
    ours = stage.pool("1G", place=stage.host)
    host = stage.directory_on(stage.host)
    size = scale.bytes(256 * MIB)
    rounds = scale.most(5)
    compare(stage, report, scale, "pool on disk: read in order, a page", "ns", {
        OURS: ("touch", ours.files / "touch", {"size": size}),
        HOST: ("touch", host / "touch", {"size": size})}, rounds=rounds)
    compare(stage, report, scale, "pool on disk: warm stores in order", "GB/s", {
        OURS: ("store", ours.files / "store", {"size": size}),
        HOST: ("store", host / "store", {"size": size})}, convert=gb_per_s, rounds=rounds)
    compare(stage, report, scale, "pool on disk: msync of 4 KiB", "ns", {
        OURS: ("msync", ours.files / "msync", {"size": MIB}),
        HOST: ("msync", host / "msync", {"size": MIB})}, rounds=scale.most(3))


PARTS = (warm, store_again, first_touch, prefaulted, msync, on_disk)
