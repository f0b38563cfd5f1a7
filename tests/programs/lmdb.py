"""LMDB: a database in the mount, in its modes."""

from cases import MAPPERS, Store

NAME = "LMDB"
GROUP = "Databases and servers"
PACKAGES = ["gcc", "libc6-dev", "liblmdb-dev", "lmdb-utils"]
VERSION = ["mdb_stat", "-V"]
ADVICE = (
    "LMDB reads through a mapping in each mode, so keep it in a process that may die, and open "
    "it again after. Don't use `MDB_WRITEMAP` in a namespace that may be full."
)


class Default(Store):
    name = "default"
    flags = 0

    def start(self):
        program = self.pmem.build("gcc", "-O1", "-o", "{}", f"{MAPPERS}/lmdb.c", "-llmdb")
        return self.pmem.talk(program, self.pmem.path("db"), str(self.flags))

    def poison_data(self):
        self.pmem.plain("cp", self.pmem.path("db"), f"{self.pmem.scratch}/saved")
        return super().poison_data()

    def heal(self, path):
        """By writing the pages again: LMDB has no checksums, and must not see a page of zeros."""
        copy = ("dd", f"if={self.pmem.scratch}/saved", f"of={path}", "conv=notrunc", "bs=4096")
        self.pmem.plain(*copy)
        return "with the page written again from a copy: "


class WriteMap(Default):
    name = "`MDB_WRITEMAP`"
    flags = 0x80000


class Async(Default):
    name = "`MDB_WRITEMAP`, `MDB_MAPASYNC`"
    flags = 0x80000 | 0x100000


CASES = [Default, WriteMap, Async]
