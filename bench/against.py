"""Two builds beside each other: each part of the sections, in turns with this build and with another
commit's. A turn of a part is one round; the median of a row in that round is its sample."""

import io
import shutil
import statistics
import subprocess

from measure import OURS, Growth, Report, Row, at_least, at_most, show_count
from sections import Scale
from stage import BIN, ROOT, MeasurementFailed, Pool, Stage

CLOSE = 0.03  # what counts as the same


def build(commit):
    """Its programs, below build/against. CalledProcessError: there is no such commit, or it doesn't
    build."""
    name = subprocess.run(["git", "rev-parse", "--short", commit + "^{commit}"], cwd=ROOT, check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()
    tree = ROOT / "build/against" / name
    if not tree.exists():  # forced: git may remember one that went with an earlier build/
        subprocess.run(["git", "worktree", "add", "--force", "--quiet", "--detach", tree, name],
                       cwd=ROOT, check=True)
    launcher = shutil.which("ccache") or ""
    for command in (["cmake", "--preset", "release", f"-DCMAKE_CXX_COMPILER_LAUNCHER={launcher}"],
                    ["cmake", "--build", "--preset", "release", "--target", "pmemd", "pmemctl"]):
        subprocess.run(command, cwd=tree, check=True, stdout=subprocess.DEVNULL)
    return name, tree / "build/bin"


def values(results):
    """What a round found, by name: (unit, value)."""
    found = {}
    for result in results:
        if isinstance(result, Growth):
            for size, samples in result.points.items():
                found[f"{result.name}: {show_count(size)}"] = result.unit, statistics.median(samples)
        elif isinstance(result, Row):
            found[result.name] = result.unit, result.median()
    return found


def target(unit, other):
    """Rates are better when they are larger, everything else when it is smaller."""
    return at_least(1 - CLOSE, other) if unit.endswith("/s") else at_most(1 + CLOSE, other)


def rows(turns, other):
    """`turns`: for each, what both builds found. A row for each name that all turns have."""
    names = [name for name in turns[0][OURS]
             if all(name in found for turn in turns for found in turn.values())]
    for name in names:
        unit = turns[0][OURS][name][0]
        samples = {build: [turn[build][name][1] for turn in turns] for build in (OURS, other)}
        if 0 not in samples[other]:
            yield Row(name, unit, samples, (target(unit, other),))


def one_round(part, section, programs, quick):
    report = Report(1, progress=io.StringIO())
    report.begin(section)
    Pool.programs = programs
    try:
        with Stage() as stage:
            part(stage, report, Scale(1, quick))
    finally:
        Pool.programs = BIN
    return values(report.sections[section])


def compare(part, section, report, scale, other, programs):
    """Adds the rows of a part to the report."""
    builds = {OURS: BIN, other: programs}
    turns = []
    for turn in range(scale.rounds):
        order = list(builds) if turn % 2 == 0 else list(reversed(builds))
        turns.append({name: one_round(part, section, builds[name], scale.quick) for name in order})
        report.say(f"{part.__name__}, round {turn + 1} of {scale.rounds}")
    found = list(rows(turns, other))
    if not found:
        raise MeasurementFailed("nothing that both builds have")
    for row in found:
        report.add(row)
