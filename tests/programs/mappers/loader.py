"""Loads a library at each line, and calls a function of it."""

import ctypes
import sys

print("ready", flush=True)
for line in sys.stdin:
    try:
        print("ok", ctypes.CDLL(sys.argv[1]).answer(), flush=True)
    except OSError as error:
        print("caught OSError:", str(error).split(": ")[-1], flush=True)
