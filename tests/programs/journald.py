"""journald: its file format and code, by systemd-journal-remote (writes) and journalctl (reads)."""

import os
import subprocess

from cases import Case, wait_until

NAME = "systemd's journal"
GROUP = "Logs"
PACKAGES = ["systemd", "systemd-journal-remote"]
VERSION = ["journalctl", "--version"]
ADVICE = (
    "The journal's code lives through SIGBUS and skips what it can't read; `journalctl --verify` "
    "says whether something is missing. Under `exec` it dies of the code that real memory has: "
    "don't run it there."
)
ENTRIES = 3000


def entry(number):
    return (f"__REALTIME_TIMESTAMP={1700000000000000 + number}\n__MONOTONIC_TIMESTAMP={number}\n"
            f"_BOOT_ID={1:032x}\nMESSAGE=entry {number} {'x' * 200}\n\n").encode()  # fmt: skip


class Reader(Case):
    name = "`journalctl --file`"

    def read(self, path):
        done = self.pmem.run("journalctl", "--file", path, "-o", "cat", "-q")
        return f"{done.ended}, {len(done.out.splitlines())} of {ENTRIES} entries"

    def verify(self, path):
        return f"`--verify`: {self.pmem.run('journalctl', '--file', path, '--verify').ended}"

    def make(self):
        path = self.pmem.path("a.journal")
        entries = b"".join(map(entry, range(ENTRIES)))
        self.pmem.plain("/lib/systemd/systemd-journal-remote", "-o", path, "-", send=entries)
        return path

    def poison(self):
        path = self.make()
        self.pmem.poison(path, 200)
        seen = f"{self.read(path)}; {self.verify(path)}"
        self.pmem.clear(path)
        return seen, f"{self.read(path)}; {self.verify(path)}"

    def removal(self):
        path = self.make()
        self.pmem.remove()
        seen = self.read(path)
        self.pmem.enable()
        return seen, f"{self.read(path)}; {self.verify(path)}"


class Writer(Reader):
    name = "`systemd-journal-remote`"
    poison = None

    def removal(self):
        path = self.pmem.path("a.journal")
        command = ["/lib/systemd/systemd-journal-remote", "-o", path, "-"]
        writer = self.pmem.popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        writer.stdin.write(b"".join(map(entry, range(ENTRIES))))
        writer.stdin.flush()
        last = b"entry %d " % (ENTRIES - 100)  # it keeps some for itself until more come
        wait_until(lambda: os.path.exists(path) and last in self.content(path))
        self.pmem.remove()
        done = self.pmem.finish(writer, b"".join(map(entry, range(ENTRIES, 2 * ENTRIES))))
        self.pmem.enable()
        lost = b"entry %d " % (2 * ENTRIES - 1) not in self.content(path)
        seen = f"{done.ended}; what comes after the removal is {'LOST' if lost else 'there'}"
        return seen, self.verify(path)

    @staticmethod
    def content(path):
        with open(path, "rb") as file:
            return file.read()


CASES = [Reader, Writer]
