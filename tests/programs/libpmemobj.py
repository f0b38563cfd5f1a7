"""libpmemobj: a pool with a list that grows by transactions."""

from cases import MAPPERS, Store
from support import PAGE

NAME = "libpmemobj"
GROUP = "Persistent memory"
PACKAGES = ["gcc", "libc6-dev", "libpmemobj-dev"]
VERSION = ["dpkg-query", "-W", "libpmemobj-dev"]
ADVICE = (
    "Transactions keep what was committed through a removal; open the pool again after enable. "
    "After poison write the page again from a copy, or lose the pool. The pool's space is taken "
    "when it is created, so a full namespace doesn't hurt it later."
)


class Transactions(Store):
    name = "transactions"
    records = 200  # without MAP_SYNC each is some msync

    def start(self):
        program = self.pmem.build("gcc", "-O1", "-o", "{}", f"{MAPPERS}/pmemobj.c", "-lpmemobj")
        return self.pmem.talk(program, self.pmem.path("db"))

    def poison_data(self):
        path = self.pmem.path(self.file)
        self.pmem.plain("cp", path, f"{self.pmem.scratch}/saved")
        with open(path, "rb") as file:
            content = file.read()
        page = content.index(bytes([100]) * 900) // PAGE + 1
        self.pmem.poison(path, page)
        return path

    def heal(self, path):
        copy = ("dd", f"if={self.pmem.scratch}/saved", f"of={path}", "conv=notrunc", "bs=4096")
        self.pmem.plain(*copy)
        return "with the page written again from a copy: "


CASES = [Transactions]
