"""What a measurement stands on: a tmpfs and a directory on the host's disk, daemons, reference
servers, workloads. Everything ends with the stage.

All mounts are made in a mount namespace of their own, so that whatever happens none is left.
"""

import contextlib
import ctypes
import json
import mmap
import os
import pathlib
import platform
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("PMEMD_BIN_DIR", ROOT / "build/bin"))
WAIT_S = 60
PAGE = 4096

libc = ctypes.CDLL(None, use_errno=True)
MADV_POPULATE_WRITE = 23
CLONE_NEWNS, MS_REC, MS_PRIVATE, PR_SET_PDEATHSIG = 0x20000, 0x4000, 0x40000, 1


class MeasurementFailed(Exception):
    pass


def private_mounts():
    """From now on this process's mounts are its own. Root alone may; False, if not."""
    if libc.unshare(CLONE_NEWNS) != 0:
        return False
    return libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) == 0


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def start(*command, **options):
    """A process of ours: not reached by the terminal's ^C, ended when we are gone."""
    return subprocess.Popen([str(word) for word in command], process_group=0,
                            preexec_fn=die_with_parent, text=True, **options)


def stop(process, how=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def meminfo():
    """Bytes, by name."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return {name: int(rest.split()[0]) * 1024
                for name, rest in (entry.split(":") for entry in file)}


def anonymous_bytes(pid):
    """Memory of the process's own: no file's, so no image's."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(entry.split()[1]) * 1024 for entry in file
                    if entry.startswith("Anonymous:"))


class Conversation:
    """A program that answers each line on its standard input with one line."""

    def __init__(self, *command):
        self.name = " ".join(pathlib.Path(str(word)).name for word in command)
        self.process = start(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        self.answer()

    def answer(self):
        text = self.process.stdout.readline()
        if not text:
            error = self.process.stderr.read().strip()
            raise MeasurementFailed(f"{self.name}: {error or 'ended'}")
        return text.strip()

    def ask(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        stop(self.process, signal.SIGKILL)
        self.process.stdout.close()
        self.process.stderr.close()


class Workload(Conversation):
    """bench/workload.h on one path."""

    def __init__(self, name, path, **options):
        super().__init__(BIN / "workload", name, path,
                         *(f"{option}={value}" for option, value in options.items()))

    def run(self):
        """Nanoseconds of one operation, by name."""
        return json.loads(self.ask("go"))


def bdi_of(mount):
    number = os.stat(mount).st_dev
    return pathlib.Path(f"/sys/class/bdi/{os.major(number)}:{os.minor(number)}")


class PlainFuse(Conversation):
    """bench/plain_fuse.cc."""

    def __init__(self, source, mount):
        source.mkdir()
        mount.mkdir()
        super().__init__(BIN / "plain_fuse", source, mount)
        self.mount = mount
        self.files = mount

    def tune_as(self, mount):
        """Limits and readahead of another mount, so that the kernel's work is the same."""
        for name in ("read_ahead_kb", "strict_limit", "max_ratio"):
            with contextlib.suppress(FileNotFoundError):
                (bdi_of(self.mount) / name).write_text((bdi_of(mount) / name).read_text())

    def inval(self, how, path, offset, length):
        """Nanoseconds. `how`: pages, range or flush."""
        ns = int(self.ask(f"{how} {path} {offset} {length}"))
        if ns < 0:
            raise MeasurementFailed(f"plain_fuse: {how} {path}: {os.strerror(-ns)}")
        return ns


class Pool:
    """A daemon with a pool of its own."""

    programs = BIN  # where pmemd and pmemctl are

    def __init__(self, directory, size="64M", *, sparse=True, options=()):
        directory.mkdir()
        self.directory = directory
        self.mount = directory / "mnt"
        self.mount.mkdir()
        self.files = self.mount / "pmem0"
        self.socket = directory / "control"
        self._size = size
        self._options = [*(["--sparse"] if sparse else []), *options]
        self._connection = None
        self.start()

    def start(self):
        """Returns when it serves. Seconds that took."""
        begin = time.perf_counter()
        path = self.directory / "ready"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(path))
            self.process = start(
                self.programs / "pmemd", "--pool", self.directory / "pool", "--mount", self.mount,
                "--create", self._size, *self._options, "--socket", self.socket,
                "--foreground", "--log-level", "warn",
                env={**os.environ, "NOTIFY_SOCKET": str(path)})
            ready.settimeout(1)
            for _ in range(WAIT_S):
                with contextlib.suppress(TimeoutError):
                    if b"READY=1" in ready.recv(4096):
                        return time.perf_counter() - begin
                if self.process.poll() is not None:
                    raise MeasurementFailed("pmemd ended; its message is above")
        raise MeasurementFailed("pmemd doesn't serve")

    def connect(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.socket))
        return connection

    def call(self, method, **parameters):
        """A method of org.pmemd, without a program in between."""
        if self._connection is None:
            self._connection = self.connect()
        call = {"method": "org.pmemd." + method, "parameters": parameters}
        self._connection.sendall(json.dumps(call).encode() + b"\0")
        reply = b""
        while not reply.endswith(b"\0"):
            part = self._connection.recv(1 << 20)
            if not part:
                raise MeasurementFailed(f"{method}: the daemon hung up")
            reply += part
        reply = json.loads(reply[:-1])
        if "error" in reply:
            raise MeasurementFailed(f"{method}: {reply['error']} {reply['parameters']}")
        return reply["parameters"]

    def create(self, size_bytes, mode="devdax"):
        """A sparse region with one namespace on all of it. The namespace."""
        region = self.call("CreateRegion", size=size_bytes, sparse=True)["region"]["dev"]
        return self.call("CreateNamespace", mode=mode, region=region)["namespace"]

    def stop(self):
        """Ends the daemon; the pool stays."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        stop(self.process)

    def close(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Stage(contextlib.ExitStack):
    """Directories, and what was begun on them."""

    def __enter__(self):
        super().__enter__()
        self._count = 0
        self.directory = pathlib.Path(self.enter_context(
            tempfile.TemporaryDirectory(prefix="pmemd-bench.", ignore_cleanup_errors=True)))
        self.host = pathlib.Path(self.enter_context(
            tempfile.TemporaryDirectory(prefix="pmemd-bench.", dir="/var/tmp",
                                        ignore_cleanup_errors=True)))
        if os.geteuid() != 0:  # may not mount one
            self.tmpfs = pathlib.Path(self.enter_context(
                tempfile.TemporaryDirectory(prefix="pmemd-bench.", dir="/dev/shm")))
            return self
        self.tmpfs = self.directory / "tmpfs"
        self.tmpfs.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=90%,nr_inodes=0,mode=700,huge=never",
                        "pmemd-bench", self.tmpfs], check=True)
        self.callback(subprocess.run, ["umount", "--lazy", self.tmpfs], check=False)
        return self

    def _new_path(self, place, name):
        self._count += 1
        return place / f"{name}{self._count}"

    def pool(self, size="64M", *, sparse=True, place=None, options=()):
        pool = Pool(self._new_path(place or self.tmpfs, "pool"), size, sparse=sparse,
                    options=options)
        self.callback(pool.close)
        return pool

    def plain(self, place=None):
        base = self._new_path(place or self.tmpfs, "plain")
        base.mkdir()
        plain = PlainFuse(base / "source", base / "mnt")
        self.callback(plain.close)
        return plain

    def workload(self, name, path, **options):
        workload = Workload(name, path, **options)
        self.callback(workload.close)
        return workload

    def directory_on(self, place, name="files"):
        path = self._new_path(place, name)
        path.mkdir()
        self.callback(shutil.rmtree, path, ignore_errors=True)
        return path


def keep_awake():
    """Has CPUs without work poll instead of halting, for everything measured alike, until the result
    is closed (the kernel's PM QoS). None: only root may, or this machine can't."""
    try:
        device = open("/dev/cpu_dma_latency", "wb", buffering=0)
        device.write(struct.pack("=i", 0))
        return device
    except OSError:
        return None


def fresh_page_ns():
    """What a new page of memory costs, which is mostly to clear it: some 500, unless others use up
    the machine's memory bandwidth (on a virtual one: whom nobody here can see)."""
    size = 64 << 20
    with mmap.mmap(-1, size) as memory:
        begin = time.perf_counter_ns()
        memory.madvise(MADV_POPULATE_WRITE)
        return (time.perf_counter_ns() - begin) / (size // PAGE)


def reclaims_cold_pages():
    """Whether DAMON takes pages back that weren't touched for a while: those of files, not of a tmpfs."""
    states = pathlib.Path("/sys/kernel/mm/damon/admin/kdamonds").glob("*/state")
    return any(state.read_text().strip() == "on" for state in states)


def machine():
    """What the figures hold for."""
    cpus = os.sched_getaffinity(0)
    model = next((entry.split(":")[1].strip() for entry in open("/proc/cpuinfo", encoding="utf-8")
                  if entry.startswith("model name")), platform.machine())
    return {"cpu": model, "cpus": len(cpus), "memory_bytes": meminfo()["MemTotal"],
            "fresh_page_ns": round(fresh_page_ns()), "reclaims_cold_pages": reclaims_cold_pages(),
            "kernel": platform.release(), "time": time.strftime("%Y-%m-%d %H:%M:%S %Z")}
