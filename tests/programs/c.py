"""C: a mapping, plain and with a handler for SIGBUS."""

from cases import MAPPERS, Mapper

NAME = "C (gcc)"
GROUP = "Languages"
PACKAGES = ["gcc", "libc6-dev"]
VERSION = ["gcc", "--version"]
ADVICE = (
    "Install a handler with SA_SIGINFO, and expect BUS_ADRERR as well as BUS_MCEERR_AR; or use "
    "`pmemd_read_guarded()`, which wants none. Under `exec` the handler is called before a "
    "removal too, with BUS_MCEERR_AO and outside of any access: it has to return then."
)


class Plain(Mapper):
    name = "`mmap`"
    arguments = ()

    def start(self, path):
        program = self.pmem.build("gcc", "-O1", "-g", "-o", "{}", f"{MAPPERS}/mapper.c")
        return self.pmem.talk(program, path, *self.arguments)


class Handler(Plain):
    name = "`mmap`, a handler that jumps"
    arguments = ("jump",)


CASES = [Plain, Handler]
