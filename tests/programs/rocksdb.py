"""RocksDB: its tables in the mount, read by calls or mapped."""

import glob
import os

from cases import MAPPERS, Store
from support import PAGE

NAME = "RocksDB"
GROUP = "Databases and servers"
PACKAGES = ["gcc", "libc6-dev", "librocksdb-dev"]
VERSION = ["dpkg-query", "-W", "librocksdb-dev"]
ADVICE = (
    "Leave `allow_mmap_reads` off: then bad memory is a status, and the database goes on after "
    "enable. Its checksums find pages that were cleared; restore from a backup, or repair. What "
    "failed writes do isn't in this table."
)


class Read(Store):
    name = "tables read"
    mapped = 0
    writes = False
    full = None

    def start(self):
        program = self.pmem.build("gcc", "-O1", "-o", "{}", f"{MAPPERS}/rocksdb.c", "-lrocksdb")
        return self.pmem.talk(program, self.pmem.path("db"), str(self.mapped))

    def poison_data(self):
        table = max(glob.glob(f"{self.pmem.path('db')}/*.sst"), key=os.path.getsize)
        self.pmem.poison(table, os.path.getsize(table) // PAGE // 2)
        return table


class Mapped(Read):
    name = "`allow_mmap_reads`"
    mapped = 1


CASES = [Read, Mapped]
