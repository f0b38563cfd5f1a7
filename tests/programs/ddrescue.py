"""ddrescue: copies what is good, and knows what isn't."""

import re

from cases import Copy

NAME = "GNU ddrescue"
GROUP = "Files"
PACKAGES = ["gddrescue"]
VERSION = ["ddrescue", "--version"]
ADVICE = (
    "The right tool for a file with bad pages. It exits with 0 although pages are missing: its "
    "map file tells which (`ddrescuelog -t`). Run again with the same map file, it goes on where "
    "it was."
)


class DdRescue(Copy):
    name = "`ddrescue`, with a map file"

    def command(self, source, target, slowly):
        speed = ["--max-read-rate=4Mi"] if slowly else []
        return ["ddrescue", "--retry-passes=1", *speed, source, target, f"{self.pmem.scratch}/map"]

    def lost(self, target, pages):
        log = self.pmem.plain("ddrescuelog", "-t", f"{self.pmem.scratch}/map").out.decode()
        bad = re.search(r"(bad-sector|non-tried):\s*([1-9]\d* k?B)", log)
        known = f"{bad.group(2)} {bad.group(1)}" if bad else "nothing is missing"
        return f"{super().lost(target, pages)}; its map: {known}"


CASES = [DdRescue]
