"""Python: a file mapped by the module mmap, with what Python can do about SIGBUS."""

from cases import MAPPERS, Mapper
from support import NAMESPACE

NAME = "Python"
GROUP = "Languages"
PACKAGES = ["python3"]
VERSION = ["python3", "--version"]
ADVICE = (
    "A handler of `signal.signal` makes it worse: the access is tried again for ever. Map in a "
    "process that may die, or read with `os.pread`, which raises OSError. Under `exec`, ignore "
    "SIGBUS to live through a removal of what isn't touched, or take the profile of ext4. Call "
    "`flush()` where data counts."
)


class Mmap(Mapper):
    name = "`mmap`"
    command = ("python3", f"{MAPPERS}/mapper.py")


class Ignored(Mapper):
    name = "SIGBUS ignored"
    command = (*Mmap.command, "ignore")
    full = None


class Handled(Mapper):
    name = "`signal.signal`"
    command = (*Mmap.command, "handle")
    full = None


class Ext4(Mmap):
    name = "`configure --profile ext4`"
    poison = full = None

    def start(self, path):
        self.pmem.pmemctl("configure", NAMESPACE, "--profile", "ext4")
        return super().start(path)


CASES = [Mmap, Ignored, Handled, Ext4]
