"""Redis: its files in the mount, its data in ordinary memory."""

from cases import Server
from support import words_for

NAME = "Redis"
GROUP = "Databases and servers"
PACKAGES = ["redis-server", "redis-tools"]
VERSION = ["redis-server", "--version"]
ADVICE = (
    "A server that runs has all in ordinary memory: when saving fails, don't restart it, but "
    "make the namespace good and let it save (`BGREWRITEAOF`, `SAVE`). One that starts wants its "
    "file whole: restore that from a copy first."
)

KEYS = 20


class Always(Server):
    name = "AOF, `appendfsync always`"
    settings = ("--appendonly", "yes", "--appendfsync", "always")
    file = "appendonlydir/appendonly.aof.1.incr.aof"

    def command(self):
        socket = ("--port", "0", "--unixsocket", f"{self.pmem.scratch}/socket")
        return ["redis-server", "--dir", self.pmem.path(""), "--save", "", *self.settings, *socket]

    def ask(self, what):
        done = self.pmem.run("redis-cli", "-s", f"{self.pmem.scratch}/socket", *what.split())
        answer = done.out.decode().strip()
        if done.code != 0 or not answer:
            return "no connection"
        return answer.split()[0] if answer.startswith(("MISCONF", "ERR")) else answer

    def is_up(self):
        return self.ask("ping") == "PONG"

    def keys(self):
        return f"{self.again('dbsize')} keys, of {KEYS}"

    def make(self):
        self.start()
        for number in range(KEYS):
            self.ask(f"set key{number} {'x' * 2000}")

    def store(self):
        """Makes it write; words for how that went."""
        return f"a write: {self.ask('set new ' + 'x' * 9000)}"

    def stores(self):
        seen = f"{self.store()}; {self.fate(3)}"
        if self.program.poll() is None:
            seen += f"; a write after that: {self.ask('set new x')}"
        return seen

    def poison(self):
        self.make()
        path, saved = self.pmem.path(self.file), f"{self.pmem.scratch}/saved"
        self.pmem.plain("cp", path, saved)
        self.pmem.poison(path, 3)
        seen = f"running: {self.ask('strlen key6')} bytes of 2000 there; started again: "
        self.stop()
        seen += self.ask("dbsize") if self.start() else words_for(self.program.returncode)
        self.pmem.plain("dd", f"if={saved}", f"of={path}", "bs=4096", "conv=notrunc")
        return seen, f"with the page written again from a copy: {self.keys()}"

    def removal(self):
        self.make()
        self.pmem.remove()
        seen = self.stores()
        self.pmem.enable()
        return seen, self.keys()

    def full(self):
        self.make()
        self.pmem.fill()
        seen = self.stores()
        self.pmem.free()
        return f"{seen}; when there is space: {self.keys()}"


class EverySecond(Always):
    name = "AOF, `appendfsync everysec`"
    settings = ("--appendonly", "yes", "--appendfsync", "everysec")


class Snapshot(Always):
    name = "RDB, by `SAVE`"
    settings = ("--appendonly", "no", "--rdbcompression", "no")
    file = "dump.rdb"

    def make(self):
        super().make()
        self.ask("save")

    def store(self):
        return f"SAVE: {self.ask('save')}"


CASES = [Always, EverySecond, Snapshot]
