"""coreutils: files of the mount read and copied by cat, cp, dd."""

from cases import Copy

NAME = "coreutils"
GROUP = "Files"
PACKAGES = ["coreutils"]
VERSION = ["cat", "--version"]
ADVICE = (
    "Look at exit codes, and remove what a failed `cp` has left. `dd conv=noerror,sync` fills "
    "bad blocks with zeros and exits with 0: use it with `bs=4096`, and never to learn whether a "
    "file is whole. ddrescue tells what it could not read."
)


class Cat(Copy):
    name = "`cat`"
    to_stdout = True

    def command(self, source, target, slowly):
        return ["cat", source]


class Cp(Copy):
    name = "`cp`"

    def command(self, source, target, slowly):
        return ["cp", source, target]

    removal = None


class Dd(Copy):
    name = "`dd bs=4096`"
    to_stdout = True
    options = ()

    def command(self, source, target, slowly):
        return ["dd", "bs=4096", *self.options, f"if={source}"]


class DdNoError(Dd):
    name = "`dd bs=4096 conv=noerror,sync`"
    options = ("conv=noerror,sync",)


CASES = [Cat, Cp, Dd, DdNoError]
