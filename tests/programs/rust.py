"""Rust: a mapped slice, inside catch_unwind."""

from cases import MAPPERS, Mapper

NAME = "Rust"
GROUP = "Languages"
PACKAGES = ["rustc"]
VERSION = ["rustc", "--version"]
ADVICE = (
    "A fault is a signal, not a panic: `catch_unwind` doesn't see it. Install a handler with "
    "`sigaction` that jumps back or ends the process as you like, or use `pmemd_read_guarded()`."
)


class Slice(Mapper):
    name = "mapped slice, in `catch_unwind`"

    def start(self, path):
        program = self.pmem.build("rustc", "-O", "-o", "{}", f"{MAPPERS}/mapper.rs")
        return self.pmem.talk(program, path)


CASES = [Slice]
