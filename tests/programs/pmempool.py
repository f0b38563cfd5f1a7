"""pmempool: what PMDK's own tool says of a pool with a bad page, and of one with a replica."""

from cases import Case
from support import PAGE

NAME = "pmempool"
GROUP = "Persistent memory"
PACKAGES = ["pmdk-tools", "libpmempool-dev"]
VERSION = ["pmempool", "--version"]
ADVICE = (
    "PMDK asks the block device for its bad blocks, and a FUSE mount has none: it finds nothing, "
    "and `sync -b` repairs nothing, with exit code 0. Ask `pmemctl badblocks`, and write the "
    "page again from the replica (`dd conv=notrunc`)."
)
BAD = 2000  # the page, behind all headers


class Pool(Case):
    name = "a pool with a replica"

    def make(self):
        parts = [self.pmem.path(name) for name in ("a", "b")]
        with open(f"{self.pmem.scratch}/set", "w", encoding="ascii") as file:
            file.write("PMEMPOOLSET\n32M {}\nREPLICA\n32M {}\n".format(*parts))
        self.pmem.plain("pmempool", "create", "--layout=x", "obj", f"{self.pmem.scratch}/set")
        return parts[0]

    def check(self):
        done = self.pmem.run("pmempool", "check", f"{self.pmem.scratch}/set")
        return f"`check`: {done.ended}"

    def poison(self):
        part = self.make()
        self.pmem.poison(part, BAD)
        info = self.pmem.run("pmempool", "info", "--bad-blocks=yes", part)
        seen = f"{self.check()}; `info --bad-blocks`: {info.ended}"
        seen += f", finds {'some' if info.says('ad block') else 'none'}"
        sync = self.pmem.run("pmempool", "sync", "-b", f"{self.pmem.scratch}/set")
        with open(part, "rb") as file:
            file.seek(BAD * PAGE)
            try:
                good = file.read(PAGE) != b""
            except OSError:
                good = False
        seen += f"; `sync -b`: {sync.ended}, the page is {'good' if good else 'still bad'}"
        self.pmem.clear(part)
        return seen, self.check()

    def removal(self):
        self.make()
        self.pmem.remove()
        seen = self.check()
        self.pmem.enable()
        return seen, self.check()

    def full(self):
        self.pmem.fill()
        done = self.pmem.run("pmempool", "create", "--layout=x", "obj", self.pmem.path("c"))
        return f"`create`: {done.ended}"


CASES = [Pool]
