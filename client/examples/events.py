#!/usr/bin/env python3
"""Prints what happens to a mapped file: events.py FILE. No library: ioctl and poll."""
import ctypes
import fcntl
import mmap
import select
import struct
import sys

IOC_MAP = 0xC020DA03  # _IOWR(0xDA, 3, struct pmemd_mapping)
IOC_READ_EVENT = 0x8048DA05  # _IOR(0xDA, 5, struct pmemd_event)
MAPPING = "=QQQQ"  # offset, length, address, id
EVENT = "=QQIIQQQQQII"  # seq, time_ns, kind, flags, id, offset, length, address, missed, ...
KINDS = ["?", "poison", "pre-remove", "removed", "enabled", "cleared", "takeover"]

with open(sys.argv[1], "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0)
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    fcntl.ioctl(file, IOC_MAP, struct.pack(MAPPING, 0, len(mapped), address, 0))
    print(f"{len(mapped)} bytes at {address:#x}", flush=True)
    poll = select.poll()
    poll.register(file, select.POLLPRI)
    while poll.poll():
        try:
            raw = fcntl.ioctl(file, IOC_READ_EVENT, bytes(struct.calcsize(EVENT)))
        except BlockingIOError:
            continue
        seq, _, kind, _, _, offset, length, address, missed, *_ = struct.unpack(EVENT, raw)
        print(f"{seq}: {KINDS[kind]}: bytes {offset} to {offset + length}, "
              f"at address {address:#x}, {missed} missed", flush=True)
