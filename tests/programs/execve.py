"""execve and dlopen: programs and libraries that lie in the mount."""

import re

from cases import MAPPERS, Case
from support import PAGE, Gone

NAME = "execve and dlopen, with glibc"
GROUP = "Programs as data"
PACKAGES = ["bash", "gcc", "libc6-dev", "binutils"]
VERSION = ["ldd", "--version"]
ADVICE = (
    "Copy programs that must live to ordinary memory first. Code is a mapping as any other, but "
    "the shim doesn't see those that the kernel and the dynamic linker make, so `exec` changes "
    "nothing."
)


class Program(Case):
    name = "a program, poison in its code"

    def make(self):
        self.pmem.plain("cp", "/usr/bin/bash", self.pmem.path("program"))
        return self.pmem.path("program")

    def bad_page(self, path):
        """Where its first instruction is."""
        header = self.pmem.plain("readelf", "-h", path).out.decode()
        return int(re.search(r"Entry point address:\s+(0x[0-9a-f]+)", header).group(1), 16) // PAGE

    def once(self, path):
        done = self.pmem.run("sh", "-c", f"exec {path} -c 'echo ok'")
        return "it runs" if done.out == b"ok\n" else done.ended

    def poison(self):
        path = self.make()
        self.pmem.plain("cp", path, f"{self.pmem.scratch}/saved")
        self.pmem.poison(path, self.bad_page(path))
        seen = self.once(path)
        self.pmem.plain("cp", f"{self.pmem.scratch}/saved", path)
        return seen, f"written again from a copy: {self.once(path)}"


class Header(Program):
    name = "a program, poison in its header"

    def bad_page(self, path):
        return 0


class Running(Program):
    name = "a program that runs"
    poison = None

    def removal(self):
        path = self.make()
        shell = self.pmem.talk(path, "-c", "echo ready; while read line; do eval $line; done")
        self.pmem.remove()
        try:
            seen = shell.ask("echo ok $((6 * 7)); printf '%x\\n' 42")
        except Gone as gone:
            seen = f"{gone} ends it"
        self.pmem.enable()
        return seen, f"started again: {self.once(path)}"


class Library(Case):
    name = "`dlopen`, poison in the code"
    page = 1

    def make(self):
        path = self.pmem.path("library.so")
        self.pmem.plain("gcc", "-shared", "-fPIC", "-o", path, f"{MAPPERS}/library.c")
        return path

    def load(self, talk):
        try:
            return talk.ask("load")
        except Gone as gone:
            return f"{gone} ends it"

    def poison(self):
        path = self.make()
        self.pmem.plain("cp", path, f"{self.pmem.scratch}/saved")
        self.pmem.poison(path, self.page)
        seen = self.load(self.start(path))
        self.pmem.plain("cp", f"{self.pmem.scratch}/saved", path)
        return seen, f"written again from a copy: {self.load(self.start(path))}"

    def start(self, path):
        return self.pmem.talk("python3", f"{MAPPERS}/loader.py", path)

    def removal(self):
        path = self.make()
        talk = self.start(path)
        self.load(talk)
        self.pmem.remove()
        seen = self.load(talk)
        self.pmem.enable()
        return seen, f"started again: {self.load(self.start(path))}"


class LibraryHeader(Library):
    name = "`dlopen`, poison in the header"
    page = 0
    removal = None


CASES = [Program, Header, Running, Library, LibraryHeader]
