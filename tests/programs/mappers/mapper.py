"""Maps a file; obeys `load PAGE`, `store PAGE BYTE`, `sync`; answers `ok` or what it caught."""

import mmap
import signal
import sys

PAGE = 4096


def obey(memory, word, *numbers):
    if word == "load":
        return f"ok {memory[int(numbers[0]) * PAGE]}"
    if word == "store":
        memory[int(numbers[0]) * PAGE] = int(numbers[1])
    else:
        memory.flush()
    return "ok"


if "ignore" in sys.argv:
    signal.signal(signal.SIGBUS, signal.SIG_IGN)
if "handle" in sys.argv:
    signal.signal(signal.SIGBUS, lambda *_: None)
with open(sys.argv[-1], "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0)
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(obey(mapped, *line.split()), flush=True)
    except (OSError, ValueError) as error:
        print("caught", type(error).__name__, error, flush=True)
