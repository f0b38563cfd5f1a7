"""What was measured, its reference beside it, and how the two are shown.

A Row is one thing measured in turns with its references; a Growth is one thing measured at several
sizes. Both keep every sample. Ratios come first: they are taken round by round, since what disturbs
one measurement disturbs the next one too, and the median of them counts.
"""

import dataclasses
import json
import math
import statistics
import sys

WIDTH = 100  # columns of the tables

OURS = "pmemd"


def percentile(samples, share):
    """Between two samples: linear."""
    ordered = sorted(samples)
    at = (len(ordered) - 1) * share
    low, high = math.floor(at), math.ceil(at)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def spread(samples):
    """The middle half's width, as a part of the median."""
    median = statistics.median(samples)
    if median == 0:
        return 0.0
    return (percentile(samples, 0.75) - percentile(samples, 0.25)) / abs(median)


def exponent(points):
    """b of y = a * x**b, by least squares on the logarithms. `points`: (x, y), all above 0."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x = statistics.fmean(x for x, _ in logs)
    mean_y = statistics.fmean(y for _, y in logs)
    square = sum((x - mean_x) ** 2 for x, _ in logs)
    if square == 0:
        raise ValueError("one size has no exponent")
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / square


def alternate(rounds, subjects, before=None):
    """Calls each of `subjects` (by name) once a round, each round beginning with another one.
    The samples by name. `before`: called with the name, outside of the sample."""
    samples = {name: [] for name in subjects}
    names = list(subjects)
    for turn in range(rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            if before is not None:
                before(name)
            samples[name].append(subjects[name]())
    return samples


# --- text -----------------------------------------------------------------------------------------

TIMES = (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1))
RATES = (("M/s", 1e6), ("k/s", 1e3), ("/s", 1))
SIZES = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("B", 1))


def digits(value):
    if 99.5 <= abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 1e6 else f"{value:.0e}"


def show_ratio(value):
    return digits(value) if value == 0 or value >= 0.01 else f"1/{digits(1 / value)}"


def scaled(value, steps):
    for name, step in steps:
        if abs(value) >= step:
            return f"{digits(value / step)} {name}"
    return f"{digits(value / steps[-1][1])} {steps[-1][0]}"


def show(value, unit):
    """`unit`: "ns", "bytes" and "/s" find their own scale."""
    if unit == "ns":
        return scaled(value, TIMES)
    if unit == "bytes":
        return scaled(value, SIZES)
    if unit == "/s":
        return scaled(value, RATES)
    return f"{digits(value)} {unit}".strip()


def show_count(value):
    for power in range(9, 2, -1):
        if value == 10**power:
            return f"10^{power}"
    return scaled(value, SIZES) if value >= 2**20 and value % 2**20 == 0 else str(value)


def clip(text, width):
    return text if len(text) <= width else text[: width - 1] + "…"


@dataclasses.dataclass(frozen=True)
class Target:
    """`of`: a reference's name (the ratio to it is meant), or OURS (the value itself, in the row's
    unit)."""

    bound: float
    at_most: bool = True
    of: str = OURS

    def met(self, value):
        return value <= self.bound if self.at_most else value >= self.bound

    def text(self, unit):
        sign = "≤" if self.at_most else "≥"
        return f"{sign} {show(self.bound, unit) if self.of == OURS else show_ratio(self.bound)}"


def at_most(bound, of=OURS):
    return Target(bound, True, of)


def at_least(bound, of=OURS):
    return Target(bound, False, of)


@dataclasses.dataclass
class Row:
    """`samples`: by subject, OURS first; of equal length where a ratio is to be taken."""

    name: str
    unit: str
    samples: dict
    targets: tuple = ()
    note: str = ""

    def median(self, subject=OURS):
        return statistics.median(self.samples[subject])

    def ratio(self, reference):
        pairs = zip(self.samples[OURS], self.samples[reference], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    def references(self):
        return [name for name in self.samples if name != OURS]

    def target_of(self, subject):
        return next((target for target in self.targets if target.of == subject), None)

    def met(self, target):
        return target.met(self.median() if target.of == OURS else self.ratio(target.of))

    def lines(self):
        first = [clip(self.name, 35), show(self.median(), self.unit),
                 f"{spread(self.samples[OURS]) * 100:.0f}%"]
        own = self.target_of(OURS)
        parts = []
        for name in self.references():
            target = self.target_of(name)
            parts.append([clip(name, 16), show(self.median(name), self.unit),
                          show_ratio(self.ratio(name)), *self.verdict(target)])
        if own is not None or not parts:
            parts.insert(0, ["", "", "", *self.verdict(own)])
        # What has a target stands beside the name.
        parts.sort(key=lambda part: part[3] == "")
        for part in parts:
            yield first + part
            first = ["", "", ""]

    def verdict(self, target):
        if target is None:
            return "", ""
        return target.text(self.unit), "yes" if self.met(target) else "NO"

    def to_json(self):
        return {
            "name": self.name, "unit": self.unit, "note": self.note,
            "median": {name: statistics.median(all_of) for name, all_of in self.samples.items()},
            "spread": {name: spread(all_of) for name, all_of in self.samples.items()},
            "ratio": {name: self.ratio(name) for name in self.references()},
            "targets": [{"of": target.of, "bound": target.bound, "at_most": target.at_most,
                         "met": self.met(target)} for target in self.targets],
            "samples": self.samples,
        }


@dataclasses.dataclass
class Growth:
    """`points`: samples by size. `target`: of the exponent, or of nothing."""

    name: str
    unit: str
    points: dict
    target: Target | None = None
    note: str = ""

    def medians(self):
        return [(size, statistics.median(all_of)) for size, all_of in self.points.items()]

    def exponent(self):
        return exponent(self.medians())

    def met(self):
        return self.target is None or self.target.met(self.exponent())

    def lines(self):
        verdict = ""
        if self.target is not None:
            verdict = f"  {self.target.text('')} {'yes' if self.met() else 'NO'}"
        yield f"{clip(self.name, 70):<70} exponent {self.exponent():5.2f}{verdict}"
        text = "   ".join(f"{show_count(size)}: {show(value, self.unit)}"
                          for size, value in self.medians())
        yield "    " + clip(text, WIDTH - 4)

    def to_json(self):
        return {
            "name": self.name, "unit": self.unit, "note": self.note, "exponent": self.exponent(),
            "target": None if self.target is None else {
                "bound": self.target.bound, "at_most": self.target.at_most,
                "met": self.met()},
            "points": [{"size": size, "median": statistics.median(all_of), "samples": all_of}
                       for size, all_of in self.points.items()],
        }


COLUMNS = (("", 35, "<"), (OURS, 10, ">"), ("±", 4, ">"), ("reference", 16, "<"),
           ("", 10, ">"), ("RATIO", 7, ">"), ("target", 8, ">"), ("", 3, "<"))


def line(cells):
    return " ".join(f"{cell:{side}{width}}" for cell, (_, width, side) in zip(cells, COLUMNS)).rstrip()


class Report:
    """Sections in the order in which they were measured."""

    def __init__(self, rounds, progress=sys.stderr):
        self.rounds = rounds
        self.sections = {}
        self.notes = []  # (section, text): what could not be measured, and what was odd
        self.failed = []
        self.machine = {}
        self._progress = progress
        self._section = ""

    def begin(self, section):
        self._section = section
        self.sections.setdefault(section, [])

    def say(self, text):
        print(f"bench: {self._section}: {text}", file=self._progress, flush=True)

    def add(self, result):
        self.sections[self._section].append(result)
        self.say(result.name)
        if result.note:
            self.note(f"{result.name}: {result.note}")

    def note(self, text):
        self.notes.append((self._section, text))

    def fail(self, what, error):
        self.failed.append((self._section, what, str(error)))
        self.say(f"{what} FAILED: {error}")

    def missed(self):
        for results in self.sections.values():
            for row in results:
                if isinstance(row, Row):
                    yield from (row.name for target in row.targets if not row.met(target))
                elif not row.met():
                    yield row.name

    def table(self):
        yield line([name for name, _, _ in COLUMNS])
        for section, results in self.sections.items():
            yield f"-- {section} ".ljust(WIDTH, "-")
            for result in results:
                if isinstance(result, Row):
                    yield from (line(cells) for cells in result.lines())
            for result in results:
                if isinstance(result, Growth):
                    yield from result.lines()
        yield "-" * WIDTH
        for section, text in self.notes:
            yield f"{section}: {text}"
        for section, what, error in self.failed:
            yield f"FAILED: {section}: {what}: {error}"
        yield f"medians of {self.rounds} rounds in turns; ±: the middle half's width; ratios round by round"

    def to_json(self):
        return {
            "machine": self.machine, "rounds": self.rounds,
            "sections": {
                name: {"rows": [row.to_json() for row in results if isinstance(row, Row)],
                       "growth": [row.to_json() for row in results if isinstance(row, Growth)]}
                for name, results in self.sections.items()},
            "notes": [{"section": section, "text": text} for section, text in self.notes],
            "failed": [{"section": section, "what": what, "error": error}
                       for section, what, error in self.failed],
            "missed": list(self.missed()),
        }

    def write_json(self, path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.to_json(), file, indent=1, ensure_ascii=False)
            file.write("\n")
