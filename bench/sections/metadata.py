"""Names and inodes: operations a second, one thread, one directory."""

from measure import OURS, Row, at_least
from sections import HOST, PLAIN, TMPFS, compare_all

FILES = 10_000
TARGETS = {"create": at_least(15_000), "stat_cold": at_least(50_000)}
NAMES = {"create": "create", "stat_cold": "stat, nothing of it cached", "stat_warm": "stat, cached",
         "rename": "rename", "unlink": "unlink", "readdir": "readdir, names"}


def names(stage, report, scale):
    ours, plain, tmpfs = stage.pool("1G"), stage.plain(), stage.directory_on(stage.tmpfs)
    host = stage.directory_on(stage.host)
    options = {"files": 200 if scale.quick else FILES}
    samples = compare_all(stage, scale.most(5), {
        OURS: ("metadata", ours.files / "names", options),
        TMPFS: ("metadata", tmpfs / "names", options),
        PLAIN: ("metadata", plain.files / "names", options),
        HOST: ("metadata", host / "names", options)})
    for what, name in NAMES.items():
        if what not in samples[OURS][0]:
            report.note(f"{name}: only root can drop what the kernel has cached")
            continue
        report.add(Row(f"{name}, of {options['files']:,} files", "/s",
                       {subject: [1e9 / one[what] for one in all_of]
                        for subject, all_of in samples.items()},
                       (TARGETS[what],) if what in TARGETS else ()))


PARTS = (names,)
