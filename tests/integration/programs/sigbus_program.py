"""Python's mmap on failing memory, through pmemctl exec: sigbus_program.py ar|ao FILE OFFSET.

ar: touches the byte at OFFSET once a line came in, prints "CODE OFFSET LSB" of the SIGBUS.
ao: waits for BUS_MCEERR_AO with sigwaitinfo(), prints its code.
"""
import ctypes
import mmap
import os
import signal
import sys

PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY = 33, 1, 1
SA_SIGINFO = 4

libc = ctypes.CDLL(None, use_errno=True)
HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class Sigaction(ctypes.Structure):
    _fields_ = [("handler", HANDLER), ("mask", ctypes.c_ulong * 16), ("flags", ctypes.c_int),
                ("restorer", ctypes.c_void_p)]


mode, path, offset = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(path, "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0)
base = ctypes.addressof(ctypes.c_char.from_buffer(mapped))


@HANDLER
def on_sigbus(_, info, __):
    code = ctypes.c_int.from_address(info + 8).value
    address = ctypes.c_uint64.from_address(info + 16).value
    lsb = ctypes.c_int16.from_address(info + 24).value
    os.write(1, f"{code} {address - base} {lsb}\n".encode())
    os._exit(0)  # there is no way on: a return would touch it again


if mode == "ao":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGBUS})
    libc.prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0)
print(mapped[offset], flush=True)
if mode == "ao":
    info = signal.sigwaitinfo({signal.SIGBUS})
    print(info.si_code)
else:
    action = Sigaction(on_sigbus, flags=SA_SIGINFO)
    assert libc.sigaction(signal.SIGBUS, ctypes.byref(action), None) == 0
    sys.stdin.readline()
    print(mapped[offset])
