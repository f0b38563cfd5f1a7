"""tar: an archive of a file with a bad page and of one behind it."""

import os

from cases import Copy, difference

NAME = "tar"
GROUP = "Files"
PACKAGES = ["tar"]
VERSION = ["tar", "--version"]
ADVICE = (
    "Exit code 1 usually means that a file changed, and scripts let it pass. Here it means that "
    "all behind the bad page is zeros, good pages too. Save files with bad pages by ddrescue."
)


class Tar(Copy):
    name = "`tar -cf -`"
    to_stdout = True
    full = None

    def command(self, source, target, slowly):
        return ["tar", "-cf", "-", "-C", os.path.dirname(source), "a", "b"]

    def __init__(self, pmem):
        super().__init__(pmem)
        pmem.file("b", 4)

    def lost(self, target, pages):
        extract = self.pmem.run("tar", "-xf", target)
        a, b = (f"{self.pmem.scratch}/{name}" for name in ("a", "b"))
        lost = f"the file: {difference(a, pages)}; the one behind it: {difference(b, 4)}"
        return f"extracting: {extract.ended}; {lost}"


CASES = [Tar]
