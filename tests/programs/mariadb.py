"""MariaDB: a data directory in the mount, with InnoDB."""

import re

from cases import Server
from support import PAGE

NAME = "MariaDB (InnoDB)"
GROUP = "Databases and servers"
PACKAGES = ["mariadb-server", "mariadb-client"]
VERSION = ["mariadbd", "--version"]
ADVICE = (
    "Enable the namespace and start the server: it recovers what was committed. A cleared page "
    "is found by its checksum: restore the table from a backup. Under `exec` the redo log is "
    "mapped, with MAP_SYNC: what is committed then doesn't outlive the daemon (docs/posix.md, "
    "Durability)."
)

ROWS = 20000
LOOK = "SELECT CONCAT(COUNT(v), ' rows') FROM t"
INSERT = "INSERT INTO t VALUES ({}, 'new')"
GROW = f"INSERT INTO t SELECT seq + {ROWS}, REPEAT('y', 200) FROM seq_1_to_2000000"
MAKE = f"""
CREATE TABLE t (k INT PRIMARY KEY, v VARCHAR(200)) ENGINE=InnoDB;
INSERT INTO t SELECT seq, REPEAT('x', 100) FROM seq_1_to_{ROWS};
"""


class InnoDb(Server):
    name = "InnoDB"
    sizes = ("--innodb-log-file-size=8M", "--innodb-data-file-path=ibdata1:10M:autoextend",
             "--innodb-buffer-pool-size=6M", "--aria-log-file-size=8M")  # fmt: skip

    def make(self):
        options = ("--no-defaults", f"--datadir={self.data}", "--user=mysql", *self.sizes)
        self.pmem.plain("mariadb-install-db", *options, "--skip-test-db")
        self.start()
        self.ask("CREATE DATABASE d", database="mysql")
        self.ask(MAKE)
        self.stop()
        return f"{self.data}/d/t.ibd"

    def command(self):
        places = (f"--datadir={self.data}", f"--socket={self.pmem.scratch}/socket")
        options = ("--user=mysql", "--skip-networking", "--skip-grant-tables", *self.sizes)
        return ["mariadbd", "--no-defaults", *places, *options]

    def ask(self, what, database="d"):
        words = ("--no-defaults", "-S", f"{self.pmem.scratch}/socket", "-N", "-B")
        done = self.pmem.run("mariadb", *words, "-e", what, database)
        if done.code == 0:
            return done.out.decode().strip() or "ok"
        number = re.search(r"ERROR (\d+)", done.text)
        if number is None or number.group(1).startswith("2"):
            return "the connection breaks"
        return f"error {number.group(1)}"

    def is_up(self):
        return self.ask("SELECT 1", database="") == "1"

    def rows(self, wanted):
        found = self.again(LOOK)
        return f"{found} of {wanted}" if found.endswith("rows") else found

    def poison(self):
        table = self.make()
        self.pmem.poison(table, 400, 16384 // PAGE)
        self.start()
        seen = f"{self.ask(LOOK)}; {self.fate(2)}"
        self.pmem.clear(table)
        return seen, self.rows(ROWS)

    def removal(self):
        self.make()
        self.start()
        inserted = self.ask(INSERT.format(0)) == "ok"
        self.pmem.remove()
        seen = f"reading: {self.ask(LOOK)}; writing: {self.ask(INSERT.format(-1))}"
        seen += f"; {self.fate(self.ends_s)}"
        self.pmem.enable()
        return seen, self.rows(ROWS + inserted)

    def full(self):
        self.make()
        self.start()
        self.pmem.fill()
        seen = f"{self.ask(GROW)}; {self.fate(2)}"
        self.pmem.free()
        return f"{seen}; when there is space: {self.rows(ROWS)}"


CASES = [InnoDb]
