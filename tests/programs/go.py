"""Go: a mapped slice, plain and with SetPanicOnFault."""

from cases import MAPPERS, Mapper

NAME = "Go"
GROUP = "Languages"
PACKAGES = ["golang-go"]
VERSION = ["go", "version"]
ADVICE = (
    "Call `debug.SetPanicOnFault(true)` in each goroutine that touches a mapping, and "
    "`recover()`. Without it a fault is a fatal error that nothing recovers. The shim doesn't "
    "reach Go, which calls the kernel by itself, so `exec` changes nothing."
)


class Plain(Mapper):
    name = "mapped slice"
    arguments = ()

    def start(self, path):
        program = self.pmem.build("go", "build", "-o", "{}", f"{MAPPERS}/mapper.go")
        return self.pmem.talk(program, path, *self.arguments)


class Panics(Plain):
    name = "`SetPanicOnFault`"
    arguments = ("panic",)


CASES = [Plain, Panics]
