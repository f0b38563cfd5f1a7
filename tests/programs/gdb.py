"""gdb: the C program of the row `c`, run by gdb on a file with a bad page."""

import re

from cases import MAPPERS, Case

NAME = "gdb"
GROUP = "Tools that look at programs"
PACKAGES = ["gcc", "libc6-dev", "gdb"]
VERSION = ["gdb", "--version"]
ADVICE = (
    "Look at `$_siginfo`: its address tells the page. gdb can't read bad memory either. Under "
    "`exec` continue once: gdb stops at the kernel's signal first, then at the shim's."
)
CODES = {"2": "BUS_ADRERR", "4": "BUS_MCEERR_AR", "5": "BUS_MCEERR_AO"}


class Run(Case):
    name = "`run`, `x`, `continue`"

    def gdb(self, path):
        program = self.pmem.build("gcc", "-O1", "-g", "-o", "{}", f"{MAPPERS}/mapper.c")
        code = "print $_siginfo.si_code"
        look = "x/bx $_siginfo._sifields._sigfault.si_addr"
        steps = ("run", code, look, "continue", code, *["continue"] * 5)
        words = [word for step in steps for word in ("-ex", step)]
        return self.pmem.run("gdb", "-q", "-nx", "--batch", *words, "--args", program, path,
                             send=b"load 5\n")  # fmt: skip

    def seen(self, done):
        stops = len(re.findall(r"received signal SIGBUS", done.text))
        codes = [CODES.get(code, code) for code in re.findall(r"^\$\d+ = (\d+)", done.text, re.M)]
        found = f"stops at SIGBUS, {' then '.join(codes[:stops])}" if stops else "no stop"
        looked = "Cannot access memory" if done.says("Cannot access memory") else "reads it"
        ended = re.search(r"terminated with signal (\w+)", done.text)
        end = f"{ended.group(1)} ends it" if ended else "gdb loses the process"
        return f"{found}; `x`: {looked}; {end}"

    def poison(self):
        path = self.pmem.file("a")
        self.pmem.poison(path, 5)
        seen = self.seen(self.gdb(path))
        self.pmem.clear(path)
        again = self.gdb(path)
        return seen, "no stop" if not again.says("SIGBUS") else self.seen(again)


CASES = [Run]
