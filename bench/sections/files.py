"""Through file descriptors: read, write, fsync."""

from measure import OURS
from sections import HOST, KIB, MIB, PLAIN, TMPFS, compare


def places(ours, plain, tmpfs, name):
    return {OURS: ours.files / name, TMPFS: tmpfs / name, PLAIN: plain.files / name}


def transfer(stage, report, scale):
    ours, plain, tmpfs = stage.pool("1G"), stage.plain(), stage.directory_on(stage.tmpfs)
    paths = places(ours, plain, tmpfs, "file")
    size = scale.bytes(128 * MIB)
    for workload, state, block, name in (
            ("read", "warm", 4 * KIB, "read of 4 KiB, cached"),
            ("read", "warm", MIB, "read of 1 MiB, cached"),
            ("read", "cold", MIB, "read of 1 MiB, cold"),
            ("write", "warm", 4 * KIB, "write of 4 KiB"),
            ("write", "warm", MIB, "write of 1 MiB")):
        # What a tmpfs has is never cold.
        compare(stage, report, scale, name, "GB/s", {
            subject: (workload, path, {
                "size": size, "block": block, "state": "warm" if subject == TMPFS else state})
            for subject, path in paths.items()},
            convert=lambda ns, block=block: block / ns)


def fsync(stage, report, scale):
    ours, plain, tmpfs = stage.pool(), stage.plain(), stage.directory_on(stage.tmpfs)
    paths = places(ours, plain, tmpfs, "file")
    compare(stage, report, scale, "fsync after a write of 4 KiB", "ns",
            {subject: ("fsync", path, {}) for subject, path in paths.items()})
    on_disk, host = stage.pool(place=stage.host), stage.directory_on(stage.host)
    options = {"calls": 16}
    compare(stage, report, scale, "pool on disk: fsync after 4 KiB", "ns", {
        OURS: ("fsync", on_disk.files / "file", options),
        HOST: ("fsync", host / "file", options)}, rounds=scale.most(3))


PARTS = (transfer, fsync)
