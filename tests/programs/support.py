"""What the rows of script/programs share: a mount of their own, ways to make its memory fail, and
programs that are watched. No wait is without an end: DEADLINE_S, if nothing else is said."""

import ctypes
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import zlib

PAGE = 4096
DEADLINE_S = 30
NAMESPACE = "namespace0.0"
PR_SET_CHILD_SUBREAPER = 36


def words_for(code):
    """How a program ended, by its return code; None: it didn't."""
    if code is None:
        return f"hangs (no end in {DEADLINE_S} s)"
    if code - 128 in {signal.SIGBUS, signal.SIGABRT, signal.SIGSEGV}:  # as a shell tells it
        code = 128 - code
    return f"exit {code}" if code >= 0 else signal.Signals(-code).name


class Failed(Exception):
    """Something that has nothing to do with failing memory went wrong."""


class Done:
    """A program that has ended, or was ended because it hung (code None)."""

    def __init__(self, code, out, err):
        self.code, self.out = code, out or b""
        self.text = (self.out + (err or b"")).decode(errors="replace")
        self.ended = words_for(code)

    def says(self, phrase):
        return phrase in self.text


class Gone(Exception):
    """The program that was talked to has ended, or doesn't answer. Its text says how."""


class Talk:
    """A program that obeys lines and answers lines."""

    def __init__(self, process, answers):
        self.process = process
        self.answers = answers
        self.buffer = b""
        os.set_blocking(process.stdout.fileno(), False)

    def ask(self, line):
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Gone(self.end()) from None
        return self.hear()

    def hear(self, within_s=DEADLINE_S):
        """Its next answer. What else it says, a report of its end for example, is passed over."""
        deadline = time.monotonic() + within_s
        while not (line := self.line(deadline)).startswith(self.answers):
            pass
        return line

    def line(self, deadline):
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                if not selector.select(max(0, deadline - time.monotonic())):
                    raise Gone(words_for(None))
                more = self.process.stdout.read()
                if not more:
                    raise Gone(self.end())
                self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode(errors="replace").strip()

    def end(self):
        try:
            return words_for(self.process.wait(DEADLINE_S))
        except subprocess.TimeoutExpired:
            return words_for(None)

    def ends_within(self, seconds):
        """Whether it ends without being asked anything."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self):
        """Lets it end by itself."""
        self.process.stdin.close()
        return self.end()


class Pmem:
    """A pool, its daemon and its mount, in a temporary directory."""

    def __init__(self, binaries):
        self.binaries = binaries
        self.directory = tempfile.mkdtemp(prefix="pmemd-programs-")
        os.chmod(self.directory, 0o711)  # servers run as users of their own
        self.mount = f"{self.directory}/mnt"
        self.socket = f"{self.directory}/control"
        self.scratch = f"{self.directory}/scratch"  # on the ordinary disk
        self.all = ()  # all of the namespace, for pmemctl
        self.shim = False  # whether programs run under `pmemctl exec`
        self.daemon = None
        self.started = []
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans become ours to end
        os.mkdir(self.mount)

    def open(self):
        command = [f"{self.binaries}/pmemd", "--pool", f"{self.directory}/pool", "--create", "512M",
                   "--sparse", "--mount", self.mount, "--socket", self.socket, "--allow-other",
                   "--foreground", "--log-level", "error"]  # fmt: skip
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(f"{self.directory}/notify")
            ready.settimeout(DEADLINE_S)
            environment = {**os.environ, "NOTIFY_SOCKET": f"{self.directory}/notify"}
            with open(f"{self.directory}/log", "wb") as log:
                self.daemon = subprocess.Popen(
                    command, env=environment, stderr=log, start_new_session=True
                )
            if b"READY=1" not in ready.recv(4096):
                raise Failed("the daemon did not start")

    def close(self):
        try:
            self.end_programs()
        finally:
            if self.daemon:
                self.daemon.terminate()
                self.daemon.wait(DEADLINE_S)
            if os.path.ismount(self.mount):
                subprocess.run(["umount", "-l", self.mount], check=True)
            shutil.rmtree(self.directory)

    def end_programs(self):
        """Ends all that was started and all that it has started, but for the daemon."""
        deadline = time.monotonic() + DEADLINE_S
        while children := self.children():
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            for program in self.started:
                program.poll()
            for pid in self.children():
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass
            if time.monotonic() > deadline:
                raise Failed(f"not to be ended: {children}")
            time.sleep(0.02)
        self.started = []

    def children(self):
        ours = set()
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
                ours |= {int(pid) for pid in file.read().split()}
        return ours - {self.daemon.pid if self.daemon else 0}

    # Files.

    def fresh(self, size="256M"):
        """An empty namespace; nothing bad, nothing left of what ran before."""
        self.end_programs()
        if self.all:
            self.pmemctl("clear-errors", NAMESPACE, *self.all, may_fail=True)
        self.pmemctl("destroy-namespace", NAMESPACE, "--force", may_fail=True)
        self.pmemctl("create-namespace", "--mode", "fsdax", "--size", size)
        self.all = ("--offset", "0", "--length", str(os.statvfs(self.path("")).f_blocks * PAGE))
        os.chmod(self.path(""), 0o777)
        shutil.rmtree(self.scratch, ignore_errors=True)
        os.mkdir(self.scratch)
        os.chmod(self.scratch, 0o777)

    def path(self, name):
        return f"{self.mount}/pmem0/{name}"

    def file(self, name, pages=16):
        """A file whose page N is full of the byte N + 1, and that is old."""
        with open(self.path(name), "wb") as file:
            for page in range(pages):
                file.write(bytes([page % 255 + 1]) * PAGE)
            os.fsync(file.fileno())
        os.utime(self.path(name), (10**9, 10**9))
        return self.path(name)

    # Failure.

    def pmemctl(self, *words, may_fail=False):
        command = [f"{self.binaries}/pmemctl", "--json", "--socket", self.socket, *words]
        done = subprocess.run(command, capture_output=True, timeout=DEADLINE_S, check=False)
        if done.returncode != 0 and not may_fail:
            raise Failed(f"pmemctl {' '.join(words)}: {done.stderr.decode()}")
        return json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else None

    def poison(self, path, page, pages=1):
        length = min(pages * PAGE, os.stat(path).st_size - page * PAGE)
        where = ("--offset", str(page * PAGE), "--length", str(length))
        self.pmemctl("inject-error", "--file", path, *where)

    def poison_all(self):
        """For memory that has no name: all that lies on the medium, but not the file system."""
        self.sync()
        self.pmemctl("configure", NAMESPACE, "on-metadata=degraded")
        self.pmemctl("inject-error", NAMESPACE, *self.all)

    def sync(self):
        """Writes all back, as the kernel does in time. It may fail of what failed before."""
        subprocess.run(["sync", "-f", self.path("")], timeout=DEADLINE_S, check=False,
                       stderr=subprocess.DEVNULL)  # fmt: skip

    def clear_all(self):
        self.pmemctl("clear-errors", NAMESPACE, *self.all)

    def clear(self, path):
        self.pmemctl("clear-errors", "--file", path)

    def remove(self, *options):
        return self.pmemctl("disable-namespace", NAMESPACE, "--force", *options)

    def enable(self):
        self.pmemctl("enable-namespace", NAMESPACE)

    def drop_cache(self):
        """Leaves nothing but what is on the medium."""
        self.remove("--surprise")
        self.enable()

    def fill(self):
        """Takes all space that is left; free() gives it back."""
        descriptor = os.open(self.path("filler"), os.O_RDWR | os.O_CREAT)
        step, end = 64 << 20, 0
        while step >= PAGE:
            try:
                os.posix_fallocate(descriptor, end, step)
                end += step
            except OSError:
                step //= 2
        os.close(descriptor)

    def free(self):
        os.unlink(self.path("filler"))

    # Programs.

    def popen(self, command, **options):
        if self.shim:
            command = [f"{self.binaries}/pmemctl", "exec", "--", *command]
        program = subprocess.Popen(command, start_new_session=True, **options)
        self.started.append(program)
        return program

    def run(self, *command, send=b"", **options):
        """Runs a program to its end."""
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        program = self.popen(command, **{**pipes, "cwd": self.scratch, **options})
        return self.finish(program, send)

    @staticmethod
    def finish(program, send=None):
        """Waits for the end of a program, or ends it when it hangs."""
        try:
            out, err = program.communicate(send, timeout=DEADLINE_S)
            return Done(program.returncode, out, err)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            return Done(None, *program.communicate(timeout=DEADLINE_S))

    def plain(self, *command, **options):
        """Runs a program to its end without the shim; it has to succeed."""
        shim, self.shim = self.shim, False
        done = self.run(*command, **options)
        self.shim = shim
        if done.code != 0:
            raise Failed(f"{' '.join(command)}: {done.ended}\n{done.text}")
        return done

    def build(self, *command):
        """Builds a program, once a run; `{}` in its command is what it makes. Returns that."""
        source = next(word for word in command if os.path.isabs(word))
        key = zlib.crc32(" ".join(command).encode())
        path = f"{self.directory}/built/{os.path.basename(source).split('.')[0]}-{key:x}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.exists(path):
            homes = {"HOME": self.directory, "GO111MODULE": "off"}
            made = [word.replace("{}", path) for word in command]
            self.plain(*made, env={**os.environ, **homes})
        return path

    def talk(self, *command, answers=("ready", "ok", "caught"), ready_s=DEADLINE_S, **options):
        """Starts a program that obeys lines; its first answer says that it is ready. `answers`:
        how its answers begin."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        options = {"stderr": subprocess.DEVNULL, "cwd": self.scratch, **options}
        talk = Talk(self.popen(command, **{**pipes, **options}), answers)
        talk.hear(ready_s)
        return talk
