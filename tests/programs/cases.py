"""What the rows' cases share. A case is one way to use a program: a column of its table."""

import os
import pwd
import re
import select
import subprocess
import time

from support import DEADLINE_S, PAGE, Failed, Gone, words_for

MAPPERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mappers")


class Case:
    """A row overrides what it can show. Each function says what was seen, or returns None."""

    name = ""

    def __init__(self, pmem):
        self.pmem = pmem

    def poison(self):
        """Touches poison. Returns what happens, and what happens after the errors are cleared."""

    def removal(self):
        """Is there at a forced removal. Returns what happens, and what happens after enable."""

    def full(self):
        """Stores into a namespace that is full. Returns what happens."""


def difference(path, pages):
    """What of a file is not as Pmem.file() makes it: words."""
    if not os.path.exists(path):
        return "no file"
    counts = {"unreadable": 0, "zeros": 0, "changed": 0}
    there = min(-(-os.stat(path).st_size // PAGE), pages)
    with open(path, "rb") as file:
        for page in range(there):
            try:
                data = os.pread(file.fileno(), PAGE, page * PAGE)
            except OSError:
                counts["unreadable"] += 1
                continue
            wanted = bytes([page % 255 + 1]) * PAGE
            if data != wanted:
                counts["zeros" if wanted.startswith(data.rstrip(b"\0")) else "changed"] += 1
    counts["missing"] = pages - there
    found = [f"{count} of {pages} pages {what}" for what, count in counts.items() if count]
    return ", ".join(found) or "all is there"


def wait_until(condition):
    """Polls until it is so; an event that outside programs don't tell."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise Failed("what was waited for did not happen")
        time.sleep(0.02)


class Mapper(Case):
    """A program of mappers/: it maps a file, and loads, stores and syncs on command."""

    command = ()
    still = "the same mapping"
    notice_s = 2.0  # how long it may take for the notice of a removal to end it under exec

    def start(self, path):
        return self.pmem.talk(*self.command, path)

    def touch(self, talk, line):
        try:
            return talk.ask(line)
        except Gone as gone:
            return str(gone) if str(gone).startswith("hangs") else f"{gone} ends it"

    def alive(self, talk):
        return talk.process.poll() is None

    def poison(self):
        path = self.pmem.file("a")
        talk = self.start(path)
        self.pmem.poison(path, 5)
        seen = self.touch(talk, "load 5")
        if self.alive(talk) and not seen.startswith("hangs"):
            seen += f"; the page behind it: {self.touch(talk, 'load 6')}"
            seen += f"; sync: {self.touch(talk, 'sync')}"
        self.pmem.clear(path)
        return seen, self.again(talk, path)

    def removal(self):
        path = self.pmem.file("a")
        talk = self.start(path)
        self.touch(talk, "store 3 77")
        self.pmem.remove()
        if self.pmem.shim and talk.ends_within(self.notice_s):
            seen = f"{talk.end()} ends it, before any touch"
        else:
            seen = self.touch(talk, "load 5")
            if self.alive(talk) and not seen.startswith("hangs"):
                seen += f"; sync: {self.touch(talk, 'sync')}"
        self.pmem.enable()
        return seen, f"{self.again(talk, path)}; what it had stored is {self.kept(path)}"

    def full(self):
        path = self.pmem.path("a")
        with open(path, "wb") as file:
            file.truncate(16 * PAGE)
        talk = self.start(path)
        self.pmem.fill()
        stored = self.touch(talk, "store 3 77")
        seen = f"store into a hole: {stored}; sync: {self.touch(talk, 'sync')}"
        self.pmem.free()
        if self.alive(talk):
            seen += f"; sync when there is space: {self.touch(talk, 'sync')}"
        talk.close()
        self.pmem.drop_cache()
        return f"{seen}; the store is {self.kept(path)}" if stored == "ok" else seen

    def again(self, talk, path):
        if self.alive(talk):
            return f"{self.still}: {self.touch(talk, 'load 5')}"
        return f"started again: {self.touch(self.start(path), 'load 5')}"

    @staticmethod
    def kept(path):
        with open(path, "rb") as file:
            return "there" if os.pread(file.fileno(), 1, 3 * PAGE) == b"\x4d" else "LOST"


class Copy(Case):
    """A program that copies a file of the mount to another place."""

    to_stdout = False  # whether it writes to standard output

    def command(self, source, target, slowly):
        """Its command. `slowly`: so that something can happen meanwhile."""
        raise NotImplementedError

    def lost(self, target, pages):
        """What the copy lacks."""
        return difference(target, pages)

    def copy(self, source, target):
        command = self.command(source, target, slowly=False)
        if not self.to_stdout:
            return self.pmem.run(*command)
        with open(target, "wb") as file:
            return self.pmem.run(*command, stdout=file)

    def copied(self, source, target, pages):
        done = self.copy(source, target)
        return f"{done.ended}; {self.lost(target, pages)}"

    def poison(self):
        source, target = self.pmem.file("a"), f"{self.pmem.scratch}/target"
        self.pmem.poison(source, 5)
        seen = self.copied(source, target, 16)
        self.pmem.clear(source)
        return seen, self.copied(source, target, 16)

    def removal(self):
        pages = 4096
        source, target = self.pmem.file("a", pages), f"{self.pmem.scratch}/target"
        done = self.copy_during(source, target, self.pmem.remove)
        lost = re.sub(r"\d+ of \d+ pages", "the rest", self.lost(target, pages))
        self.pmem.enable()
        return f"{done.ended}; {lost}", self.copied(source, target, pages)

    def copy_during(self, source, target, happen):
        """Copies, and lets something happen when the first bytes have arrived."""
        command = self.command(source, target, slowly=True)
        program = self.pmem.popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=self.pmem.scratch
        )
        if not self.to_stdout:
            wait_until(lambda: self.has_begun(target))
            happen()
            return self.pmem.finish(program)
        select.select([program.stdout], [], [], DEADLINE_S)
        first = os.read(program.stdout.fileno(), PAGE)
        happen()
        done = self.pmem.finish(program)
        with open(target, "wb") as file:
            file.write(first + done.out)
        return done

    @staticmethod
    def has_begun(target):
        """Whether bytes have arrived in the target, or in a file of the program's beside it."""
        folder = os.path.dirname(target)
        return any(entry.stat().st_size > 0 for entry in os.scandir(folder) if entry.is_file())

    def full(self):
        source, target = f"{self.pmem.scratch}/source", self.pmem.path("target")
        self.pmem.plain("mv", self.pmem.file("a"), source)
        self.pmem.fill()
        return self.copied(source, target, 16)


class Store(Case):
    """A store of records: a program that obeys `fill N` and `count`, and opens what is there."""

    notice_s = 2.0
    records = 2000
    writes = True  # whether it is to write where that fails
    file = "db"  # where its data is, in the mount

    def start(self):
        raise NotImplementedError

    def ask(self, talk, line):
        try:
            return talk.ask(line).removeprefix("ok ")
        except Gone as gone:
            return f"{gone} ends it"

    def poison_data(self):
        """Poisons a page of its data, and returns the file."""
        path = self.pmem.path(self.file)
        self.pmem.poison(path, self.records // 8)  # about the middle: a record has 1000 bytes
        return path

    def heal(self, path):
        """Makes the bad page good: words for how it did, if not by clear-errors."""
        self.pmem.clear(path)
        return ""

    def begin(self):
        """One that has its records on the medium."""
        talk = self.start()
        self.ask(talk, f"fill {self.records}")
        talk.close()
        return self.start()

    def poison(self):
        talk = self.begin()
        path = self.poison_data()
        seen = self.ask(talk, "count")
        return seen, self.heal(path) + self.again(talk, "count")

    def removal(self):
        talk = self.begin()
        self.ask(talk, "count")
        self.ask(talk, f"fill {self.records + 1}")
        self.pmem.remove()
        if self.pmem.shim and talk.ends_within(self.notice_s):
            seen = f"{talk.end()} ends it, before any touch"
        else:
            seen = f"reading: {self.ask(talk, 'count')}"
            if self.writes and talk.process.poll() is None:
                seen += f"; writing: {self.ask(talk, 'fill 10')}"
        self.pmem.enable()
        return seen, f"{self.again(talk, 'count')} of {self.records + 1}"

    def full(self):
        talk = self.begin()
        self.pmem.fill()
        seen = f"writing: {self.ask(talk, f'fill {2 * self.records}')}"
        self.pmem.sync()
        talk.close()
        self.pmem.free()
        self.pmem.drop_cache()
        return f"{seen}; ended, and started when there is space: {self.ask(self.start(), 'count')}"

    def again(self, talk, line):
        if talk.process.poll() is None:
            return f"goes on: {self.ask(talk, line)}"
        try:
            return f"started again: {self.ask(self.start(), line)}"
        except Gone as gone:
            return f"does not start again: {gone}"


class Server(Case):
    """A server whose data is in the mount. A row says how to make the data, and how to ask."""

    user = None  # who runs it
    ends_s = DEADLINE_S  # how long it may take to notice that its data is gone

    def __init__(self, pmem):
        super().__init__(pmem)
        self.program = None
        self.data = pmem.path("data")

    def make(self):
        """Makes the data, with the server stopped."""

    def command(self):
        raise NotImplementedError

    def ask(self, what):
        """An answer, or what went wrong, in a few words."""
        raise NotImplementedError

    def is_up(self):
        raise NotImplementedError

    def start(self):
        """Starts it, and waits until it serves. Returns whether it does."""
        with open(f"{self.pmem.scratch}/log", "ab") as log:
            group = pwd.getpwnam(self.user).pw_gid if self.user else 0
            user = {"user": self.user, "group": group, "extra_groups": []} if self.user else {}
            pipes = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.program = self.pmem.popen(self.command(), cwd=self.pmem.scratch, **pipes, **user)
        wait_until(lambda: self.program.poll() is not None or self.is_up())
        return self.program.poll() is None

    def stop(self):
        self.program.terminate()
        self.program.wait(DEADLINE_S)

    def fate(self, seconds=0):
        """What became of it: words. Waits so long for its end."""
        try:
            return f"the server: {words_for(self.program.wait(seconds))}"
        except subprocess.TimeoutExpired:
            return "the server goes on"

    def again(self, what):
        if self.program.poll() is None:
            return f"the same server: {self.ask(what)}"
        if not self.start():
            return f"does not start: {words_for(self.program.returncode)}"
        return f"started again: {self.ask(what)}"
