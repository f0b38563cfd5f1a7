"""Node: it has no way to map a file, so memory fails as files do."""

from cases import MAPPERS, Mapper

NAME = "Node"
GROUP = "Languages"
PACKAGES = ["nodejs"]
VERSION = ["node", "--version"]
ADVICE = (
    "Node maps no files by itself, so a failure is an exception with the code EIO. A descriptor "
    "works again after enable. Modules that map files die as programs in C do."
)


class Calls(Mapper):
    name = "`fs.readSync`, `writeSync`, `fsyncSync`"
    still = "the same descriptor"
    command = ("node", f"{MAPPERS}/reader.js")


CASES = [Calls]
