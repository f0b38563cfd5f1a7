"""Ruby: a file mapped by IO::Buffer."""

from cases import MAPPERS, Mapper

NAME = "Ruby"
GROUP = "Languages"
PACKAGES = ["ruby"]
VERSION = ["ruby", "--version"]
ADVICE = (
    "Nothing in Ruby catches it: the interpreter prints a report and aborts. Map in a process "
    "that may die, or read with `pread`, which raises Errno::EIO."
)


class Buffer(Mapper):
    name = "`IO::Buffer.map`, `fsync`"
    command = ("ruby", "-W0", f"{MAPPERS}/mapper.rb")


CASES = [Buffer]
