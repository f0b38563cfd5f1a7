"""Sanitizers: the C program of the row `c`, built with them."""

from cases import MAPPERS, Mapper

NAME = "Sanitizers (gcc)"
GROUP = "Tools that look at programs"
PACKAGES = ["gcc", "libc6-dev", "libasan8", "libubsan1", "libtsan2"]
VERSION = ["gcc", "--version"]
ADVICE = (
    "The report of a bus error names the line of the access: the memory has failed, the pointer "
    "is right. `handle_sigbus=0` in ASAN_OPTIONS leaves the signal to the program."
)


class Address(Mapper):
    name = "`-fsanitize=address`"
    flags = ("-fsanitize=address",)
    arguments = ()

    def start(self, path):
        source = f"{MAPPERS}/mapper.c"
        program = self.pmem.build("gcc", "-O1", "-g", *self.flags, "-o", "{}", source)
        return self.pmem.talk(program, path, *self.arguments)


class Thread(Address):
    name = "`-fsanitize=thread`"
    flags = ("-fsanitize=thread",)


class Undefined(Address):
    name = "`-fsanitize=undefined`"
    flags = ("-fsanitize=undefined",)


class Handler(Address):
    name = "`-fsanitize=address`, a handler that jumps"
    arguments = ("jump",)


CASES = [Address, Thread, Undefined, Handler]
