#!/usr/bin/env python3
"""script/bench [SECTION…] [--quick] [--rounds N] [--against COMMIT] [--json FILE]

Measures, each figure in turns with its references, and prints a table. Sections: see below; all of
them, if none is named. It judges nobody: exit 0 also when a target is missed, 1 when something
could not be measured.
"""

import argparse
import importlib
import os
import subprocess
import resource
import signal
import sys
import time

import against
from measure import Report
from sections import Scale
from stage import Stage, keep_awake, machine, private_mounts

SECTIONS = {
    "core": "references, the registry, leases",
    "memory": "loads, stores, first touch, msync",
    "files": "read, write, fsync",
    "metadata": "create, stat, rename, unlink, readdir",
    "removal": "forced removal",
    "failure": "poison and clear",
    "growth": "the same at several sizes",
    "size": "memory of the daemon, page cache",
}


def arguments():
    parser = argparse.ArgumentParser(
        prog="script/bench", description=__doc__.split("\n\n")[1],
        epilog="sections: " + "; ".join(f"{name}: {what}" for name, what in SECTIONS.items()))
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="default: all")
    parser.add_argument("--quick", action="store_true", help="use small sizes, only to check that it works")
    parser.add_argument("--rounds", type=int, help="default: 7")
    parser.add_argument("--let-idle", action="store_true",
                        help="let idle CPUs halt, as on a machine at rest")
    parser.add_argument("--json", metavar="FILE", help="write all samples to FILE")
    parser.add_argument("--against", metavar="COMMIT",
                        help="build that commit, too, and compare the two, with each other alone: all but "
                        "core, which has no daemon")
    parser.add_argument("--part", action="append", metavar="NAME",
                        help="run only this part of the sections; may be repeated")
    args = parser.parse_args()
    for name in args.sections:
        if name not in SECTIONS:
            parser.error(f"no section {name}; there are {', '.join(SECTIONS)}")
    if args.rounds is not None and args.rounds < 1:
        parser.error("--rounds: at least 1")
    if args.against:
        try:
            args.against = against.build(args.against)
        except (OSError, subprocess.CalledProcessError) as error:
            parser.error(f"--against: {error}")
    return args


def measure(part, section, report, scale, other):
    begin = time.monotonic()
    try:
        if other:
            against.compare(part, section, report, scale, *other)
            return
        with Stage() as stage:
            part(stage, report, scale)
    except Exception as error:  # pylint: disable=broad-except; whatever it is, the others go on
        report.fail(part.__name__, error)
    report.say(f"{part.__name__} took {time.monotonic() - begin:.0f} s")


def stop(*_):
    raise KeyboardInterrupt


SLOW_PAGE_NS = 2000


def main():
    args = arguments()
    scale = Scale(args.rounds or (1 if args.quick else 7), args.quick)
    report = Report(scale.rounds)
    awake = None if args.let_idle else keep_awake()
    report.machine = {**machine(), "cpus_halt": awake is None}
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection for each subscriber
    is_root = os.geteuid() == 0
    if is_root and not private_mounts():
        report.note("no mount namespace of its own; mounts are made in yours, and taken away again")
    if awake is None:
        report.note("CPUs halt when they have nothing to do: to wake one may take longer than what is "
                    "measured (root, and without --let-idle: they poll)")
    if report.machine["fresh_page_ns"] > SLOW_PAGE_NS:
        report.note(f"a fresh page of memory costs {report.machine['fresh_page_ns']} ns on this machine "
                    "now: memory is slow, and with it all that copies (on a virtual one: its host is busy)")
    if report.machine["reclaims_cold_pages"]:
        report.note("DAMON is on: cold pages of files, ours among them, are taken back meanwhile, those "
                    "of a tmpfs aren't")
    for section in args.sections or SECTIONS:
        if args.against and section == "core":
            continue
        module = importlib.import_module(f"sections.{section}")
        report.begin(section)
        if not is_root:
            report.note("not root: the daemon can't raise its mount's limits, names can't be made "
                        "cold, other users' processes aren't seen")
        for part in module.PARTS:
            if not args.part or part.__name__ in args.part:
                measure(part, section, report, scale, args.against)
    print("\n".join(report.table()))
    if args.json:
        report.write_json(args.json)
    return 1 if report.failed else 0


try:
    sys.exit(main())
except KeyboardInterrupt:
    sys.exit(130)
