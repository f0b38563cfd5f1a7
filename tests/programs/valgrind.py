"""valgrind: the C program of the row `c`, under memcheck."""

from cases import MAPPERS, Mapper

NAME = "valgrind"
GROUP = "Tools that look at programs"
PACKAGES = ["gcc", "libc6-dev", "valgrind"]
VERSION = ["valgrind", "--version"]
ADVICE = (
    "Don't put both together where memory fails: under `exec` valgrind takes the signals that the "
    "shim sends for failures of its own, and gives up with exit code 1. Without `exec` all is as "
    "without valgrind."
)


class Memcheck(Mapper):
    name = "memcheck"
    arguments = ()

    def start(self, path):
        program = self.pmem.build("gcc", "-O1", "-g", "-o", "{}", f"{MAPPERS}/mapper.c")
        return self.pmem.talk("valgrind", "-q", program, path, *self.arguments)


class Handler(Memcheck):
    name = "memcheck, a handler that jumps"
    arguments = ("jump",)


CASES = [Memcheck, Handler]
