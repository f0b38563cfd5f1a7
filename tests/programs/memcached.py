"""memcached: its items in a file of the mount (`-e`)."""

import socket

from cases import Server

NAME = "memcached"
GROUP = "Databases and servers"
PACKAGES = ["memcached"]
VERSION = ["memcached", "-V"]
ADVICE = (
    "It is a cache: let it be started again, with an empty file. It takes its old content only "
    "after an orderly stop."
)

ITEMS = 4000


class File(Server):
    name = "`memcached -e`"
    user = "nobody"

    def command(self):
        socket_path = f"{self.pmem.scratch}/socket"
        return ["memcached", "-m", "64", "-e", self.pmem.path("items"), "-s", socket_path]

    def talk(self, request):
        """Its answer to a request, up to the last line that it has."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            peer.connect(f"{self.pmem.scratch}/socket")
            peer.sendall(request)
            answer = b""
            while not answer.endswith((b"END\r\n", b"STORED\r\n", b"ERROR\r\n", b"memory\r\n")):
                more = peer.recv(65536)
                if not more:
                    break
                answer += more
            return answer

    def ask(self, what):
        try:
            requests = (b"get key%d\r\n" % item for item in range(ITEMS))
            found = sum(self.talk(request).startswith(b"VALUE") for request in requests)
            return f"{found} of {ITEMS} items"
        except OSError:
            return "the connection breaks"

    def is_up(self):
        try:
            return self.talk(b"get none\r\n") != b""
        except OSError:
            return False

    def make(self):
        self.start()
        for item in range(ITEMS):
            self.talk(b"set key%d 0 0 1000\r\n%s\r\n" % (item, b"x" * 1000))

    def poison(self):
        self.make()
        self.pmem.poison_all()
        seen = f"{self.ask('look')}; {self.fate(2)}"
        self.pmem.clear_all()
        return seen, self.again("look")

    def removal(self):
        self.make()
        self.pmem.remove()
        seen = f"{self.fate(5)}, before any request"
        if self.program.poll() is None:
            seen = f"{self.ask('look')}; {self.fate(2)}"
        self.pmem.enable()
        return seen, self.again("look")


CASES = [File]
