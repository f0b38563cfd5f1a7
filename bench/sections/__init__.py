"""What script/bench measures. A section is a module with PARTS: functions of (stage, report, scale),
each with a stage of its own, so that one that fails takes no other with it."""

import contextlib
import dataclasses

from measure import Row, alternate

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40
TMPFS, PLAIN, HOST = "tmpfs", "plain FUSE", "host's disk"


@dataclasses.dataclass(frozen=True)
class Scale:
    rounds: int = 7
    quick: bool = False  # sizes that show that everything works, not how fast

    def bytes(self, size):
        """Of one measurement's file."""
        return min(size, 8 * MIB) if self.quick else size

    def most(self, rounds):
        """For what takes long."""
        return min(rounds, self.rounds)

    def upto(self, sizes, limit):
        """The sizes of a growth that are tried."""
        return [size for size in sizes if not self.quick or size <= limit]


def as_ns(ns):
    return ns


def compare_all(stage, rounds, subjects):
    """Samples of several workloads in turns: by subject, all that a run tells. `subjects`: by name
    (workload, path, options)."""
    with contextlib.ExitStack() as ended:
        runs = {}
        for subject, (workload, path, options) in subjects.items():
            running = stage.workload(workload, path, **options)
            ended.callback(running.close)
            runs[subject] = running.run
        return alternate(rounds, runs)


def compare(stage, report, scale, name, unit, subjects, *, targets=(), convert=as_ns, note="",
            rounds=None):
    """A row of it: what the workloads call ns, converted."""
    samples = compare_all(stage, rounds or scale.rounds, subjects)
    report.add(Row(name, unit, {subject: [convert(one["ns"]) for one in all_of]
                                for subject, all_of in samples.items()}, targets, note))
