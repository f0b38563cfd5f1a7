"""git: a repository in the mount, with one pack."""

import glob
import os

from cases import Case
from support import PAGE

NAME = "git"
GROUP = "Files"
PACKAGES = ["git"]
VERSION = ["git", "--version"]
ADVICE = (
    "git maps packs, and dies of SIGBUS without a word. Don't run `git gc` on such a repository; "
    "clone from another copy, or fetch the lost objects from one after the bad pack was moved "
    "away."
)

FILES = 40


class Pack(Case):
    name = "poison in a pack"

    def __init__(self, pmem):
        super().__init__(pmem)
        self.work = pmem.path("work")

    def git(self, *words):
        settings = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "gc.auto=0",
                    "-c", "safe.directory=*", "-c", "core.fsync=all")  # fmt: skip
        return self.pmem.run("git", *settings, "-C", self.work, *words)

    def make(self):
        os.mkdir(self.work)
        for number in range(FILES):
            with open(f"{self.work}/file{number}", "wb") as file:
                file.write(os.urandom(10 * PAGE))
        for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "one"), ("gc", "-q")):
            self.git(*words)

    def bad_file(self):
        return glob.glob(f"{self.work}/.git/objects/pack/*.pack")[0]

    def state(self):
        ends = (f"`{word}` {self.git(word).ended}" for word in ("status", "fsck"))
        return ", ".join(ends)

    def poison(self):
        self.make()
        bad, saved = self.bad_file(), f"{self.pmem.scratch}/saved"
        self.pmem.plain("cp", bad, saved)
        self.pmem.poison(bad, os.path.getsize(bad) // PAGE // 2)
        seen = self.state()
        self.pmem.clear(bad)
        cleared = self.state()
        self.pmem.plain("cp", "--remove-destination", saved, bad)
        return seen, f"{cleared}; with the file from a copy: {self.state()}"

    def removal(self):
        self.make()
        self.pmem.remove()
        seen = self.state()
        self.pmem.enable()
        return seen, self.state()

    def full(self):
        self.make()
        self.pmem.fill()
        commit = self.git("commit", "-q", "--allow-empty", "-m", "two")
        self.pmem.free()
        return f"`commit` {commit.ended}; when there is space: {self.state()}"


class Index(Pack):
    name = "poison in the index"
    removal = full = None

    def bad_file(self):
        return f"{self.work}/.git/index"


CASES = [Pack, Index]
