"""A daemon of the benchmark's own, on a temporary directory, and processes that map its files."""

import json
import mmap
import os
import pathlib
import signal
import socket
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("PMEMD_BIN_DIR", ROOT / "build/bin"))


class Pool:
    """A daemon on a temporary directory."""

    def __init__(self, directory):
        self.mount = directory / "mnt"
        self.mount.mkdir()
        self.socket = directory / "control"
        self.connection = None
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(directory / "ready"))
            self.daemon = subprocess.Popen(
                [BIN / "pmemd", "--pool", directory / "pool", "--mount", self.mount, "--create",
                 "16M", "--sparse", "--socket", self.socket, "--foreground", "--log-level", "warn"],
                env={**os.environ, "NOTIFY_SOCKET": str(directory / "ready")})
            ready.settimeout(30)
            while b"READY=1" not in ready.recv(4096):
                pass

    def ctl(self, *args):
        text = subprocess.run([BIN / "pmemctl", "--socket", self.socket, "--json", *args],
                              check=True, capture_output=True, text=True).stdout
        return json.loads(text) if text else None

    def call(self, method, **parameters):
        """A method of org.pmemd, without a program in between."""
        if self.connection is None:
            self.connection = socket.socket(socket.AF_UNIX)
            self.connection.connect(str(self.socket))
        call = {"method": "org.pmemd." + method, "parameters": parameters}
        self.connection.sendall(json.dumps(call).encode() + b"\0")
        reply = b""
        while not reply.endswith(b"\0"):
            reply += self.connection.recv(65536)
        reply = json.loads(reply[:-1])
        if "error" in reply:
            raise RuntimeError(reply)
        return reply["parameters"]

    def stop(self):
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait()


def start_mapper(path, size):
    """A child that maps all of the file and then only waits."""
    begun, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), size):
            os.write(done, b"x")
            signal.pause()
    os.read(begun, 1)
    os.close(begun)
    os.close(done)
    return pid


def end(pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
