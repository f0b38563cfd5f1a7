"""SQLite: a database in the mount, used by one connection, in three modes."""

import subprocess

from cases import Case
from support import PAGE, Gone

NAME = "SQLite"
GROUP = "Databases and servers"
PACKAGES = ["sqlite3"]
VERSION = ["sqlite3", "--version"]
ADVICE = (
    "Leave `mmap_size` at 0 and don't use WAL where memory may fail: then each failure is an "
    'error that the program gets. "Malformed" may be a mere read error: look again after enable. '
    "WAL maps its `-shm` file. After `clear-errors` restore the database from a copy, or by "
    "`.recover`."
)

ROWS = 4000
MAKE = f"""
CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<{ROWS})
INSERT INTO t SELECT i, printf('%0200d', i) FROM n;
"""
LOOK = "SELECT 'ok ' || count(v) || ' rows' FROM t WHERE length(v) > 0;"
INSERT = f"INSERT INTO t VALUES ({ROWS + 1}, 'new'); SELECT 'ok';"
GROW = "INSERT INTO t SELECT k + 100000, v FROM t; SELECT 'ok';"
CHECK = """SELECT 'ok ' || iif(integrity_check = 'ok', 'passes', 'finds damage')
FROM pragma_integrity_check(1);"""


class Database(Case):
    name = "without mmap"
    setting = "PRAGMA mmap_size=0"

    def start(self):
        """A shell on the database, which has met nothing of it but its first page."""
        command = ["sqlite3", "-batch", "-cmd", f"{self.setting}; SELECT 'ready';"]
        answers = ("ready", "ok", "Runtime error", "Parse error")
        path = self.pmem.path("db")
        return self.pmem.talk(*command, path, stderr=subprocess.STDOUT, answers=answers)

    def make(self):
        path = self.pmem.path("db")
        self.pmem.plain("sqlite3", path, f"{self.setting}; {MAKE}")
        return path

    def ask(self, talk, sql):
        try:
            answer = talk.ask(sql)
        except Gone as gone:
            return f"{gone} ends it"
        return answer.removeprefix("ok ") if answer.startswith("ok") else answer.split(": ", 1)[1]

    def again(self, talk, sql):
        if talk.process.poll() is None:
            return f"the same connection: {self.ask(talk, sql)}"
        return f"started again: {self.ask(self.start(), sql)}"

    def poison(self):
        path = self.make()
        talk = self.start()
        self.pmem.poison(path, 50)
        seen = self.ask(talk, LOOK)
        self.pmem.clear(path)
        return seen, f"{self.again(talk, LOOK)}; check {self.ask(self.start(), CHECK)}"

    def removal(self):
        self.make()
        talk = self.start()
        self.ask(talk, LOOK)
        inserted = self.ask(talk, INSERT)
        self.pmem.remove()
        if self.pmem.shim and talk.ends_within(2):
            seen = f"{talk.end()} ends it, before any touch"
        else:
            seen = self.ask(talk, LOOK)
        self.pmem.enable()
        found = f"{self.again(talk, LOOK)} of {ROWS + (inserted == 'ok')}"
        return seen, f"{found}; check {self.ask(self.start(), CHECK)}"

    def full(self):
        self.make()
        talk = self.start()
        self.pmem.fill()
        seen = self.ask(talk, GROW)
        self.pmem.free()
        again = self.again(talk, GROW)
        return f"{seen}; when there is space: {again}; check {self.ask(talk, CHECK)}"


class Mapped(Database):
    name = "`mmap_size`"
    setting = "PRAGMA mmap_size=268435456"


class Wal(Database):
    name = "WAL"
    setting = "PRAGMA journal_mode=WAL"


class SharedMemory(Wal):
    name = "WAL, poison in `-shm`"
    removal = full = None

    def poison(self):
        self.make()
        holder = self.start()
        self.ask(holder, INSERT)
        talk = self.start()
        self.pmem.poison(self.pmem.path("db-shm"), 0, 32768 // PAGE)
        seen = self.ask(talk, LOOK)
        self.pmem.clear(self.pmem.path("db-shm"))
        return seen, f"{self.again(talk, LOOK)} of {ROWS + 1}"


CASES = [Database, Mapped, Wal, SharedMemory]
