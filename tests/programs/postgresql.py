"""PostgreSQL: a whole cluster in the mount."""

import re
import subprocess

from cases import Server
from support import PAGE, Gone

NAME = "PostgreSQL"
GROUP = "Databases and servers"
PACKAGES = ["postgresql-15", "postgresql-client-15"]
BIN = "/usr/lib/postgresql/15/bin"
VERSION = [f"{BIN}/postgres", "--version"]
ADVICE = (
    "After a removal enable the namespace and start the server: it recovers what was committed. "
    "After poison restore the table from a backup *before* you clear anything: a page of zeros "
    "is an empty page to PostgreSQL, checksums or not, and its rows are gone without an error."
)

ROWS = 20000
READY = "SELECT 'ok';"
LOOK = "SELECT 'ok ' || count(v) || ' rows' FROM t;"
INSERT = "INSERT INTO t VALUES (0, 'new') RETURNING 'ok';"
GROW = "INSERT INTO t SELECT n, repeat('y', 1000) FROM generate_series(1, 300000) n;"
MAKE = f"""
CREATE TABLE t (k int, v text);
INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, {ROWS}) n;
CHECKPOINT;
SELECT 'ok ' || pg_relation_filepath('t');
"""


class Cluster(Server):
    name = "default"
    user = "postgres"
    initdb = ()

    def make(self):
        options = ("-A", "trust", "-N", "--wal-segsize=1", *self.initdb)
        self.pmem.plain(f"{BIN}/initdb", "-D", self.data, *options, user=self.user)
        self.start()
        table = f"{self.data}/{self.ask(MAKE)}"
        self.session.close()
        self.stop()
        return table

    def command(self):
        settings = ("shared_buffers=1MB", "listen_addresses=", "max_wal_size=32MB",
                    f"unix_socket_directories={self.pmem.scratch}")  # fmt: skip
        return [f"{BIN}/postgres", "-D", self.data, *(f"--{setting}" for setting in settings)]

    def start(self):
        up = super().start()
        if up:
            self.session = self.connect()
        return up

    def connect(self):
        words = ("-h", self.pmem.scratch, "-U", self.user, "-Atq", "-v", "VERBOSITY=terse")
        answers = ("ok", "psql:<stdin>:")
        command = (f"{BIN}/psql", *words, "-c", READY, "-f", "-", "postgres")
        return self.pmem.talk(*command, stderr=subprocess.STDOUT, answers=answers)

    def ask(self, what):
        try:
            answer = self.session.ask(what)
        except Gone:
            return "the connection breaks"
        if answer.startswith("ok"):
            return answer.removeprefix("ok ")
        kind = re.search(r"(ERROR|FATAL|PANIC): .*?([^:]+?)( at character \d+)?$", answer)
        return f"{kind.group(1)}:{kind.group(2)}" if kind else "the connection breaks"

    def is_up(self):
        return self.pmem.run(f"{BIN}/pg_isready", "-h", self.pmem.scratch).code == 0

    def poison(self):
        table = self.make()
        self.pmem.poison(table, 100, 8192 // PAGE)
        self.start()
        seen = f"{self.ask(LOOK)}; {self.fate()}"
        self.pmem.clear(table)
        return seen, f"{self.again(LOOK)} of {ROWS}"

    def removal(self):
        self.make()
        self.start()
        inserted = self.ask(INSERT) == "ok"
        self.pmem.remove()
        seen = f"reading: {self.ask(LOOK)}; writing: {self.ask(INSERT)}; {self.fate(self.ends_s)}"
        self.pmem.enable()
        return seen, f"{self.again(LOOK)} of {ROWS + inserted}"

    def full(self):
        self.make()
        self.start()
        self.pmem.fill()
        seen = f"{self.ask(GROW)}; {self.fate(2)}"
        self.pmem.free()
        return f"{seen}; when there is space: {self.again(LOOK)} of {ROWS}"


class Checksums(Cluster):
    name = "`initdb --data-checksums`"
    initdb = ("--data-checksums",)
    removal = full = None


CASES = [Cluster, Checksums]
