"""Java: MappedByteBuffer, interpreted and compiled, and a heap in the mount."""

from cases import MAPPERS, Mapper
from support import NAMESPACE, Gone

NAME = "Java (OpenJDK)"
GROUP = "Languages"
PACKAGES = ["openjdk-17-jdk-headless"]
VERSION = ["java", "-version"]
ADVICE = (
    "Catch InternalError some calls above the access, not around it, and take what was read for "
    "garbage until the call has returned. Call `force()` before you rely on a store. Under "
    "`exec` a JVM doesn't outlive a removal, unless the namespace has `configure --profile "
    "ext4`. Never put the heap on memory that may fail."
)


class Interpreted(Mapper):
    name = "MappedByteBuffer, interpreted"
    flags = ("-Xint",)

    def start(self, path):
        classes = self.pmem.build("javac", "-d", "{}", f"{MAPPERS}/Mapper.java")
        return self.pmem.talk("java", *self.flags, "-cp", classes, "Mapper", path)


class Compiled(Interpreted):
    name = "MappedByteBuffer, compiled"
    flags = ("-Xcomp",)


class Ext4(Interpreted):
    name = "`configure --profile ext4`"
    poison = full = None

    def start(self, path):
        self.pmem.pmemctl("configure", NAMESPACE, "--profile", "ext4")
        return super().start(path)


class Heap(Mapper):
    name = "heap (`AllocateHeapAt`)"

    def start(self, path):
        classes = self.pmem.build("javac", "-d", "{}", f"{MAPPERS}/Heap.java")
        heap = f"-XX:AllocateHeapAt={self.pmem.path('')}"
        return self.pmem.talk("java", heap, "-Xmx64m", "-cp", classes, "Heap")

    def poison(self):
        talk = self.start(None)
        self.pmem.poison_all()
        seen = self.touch(talk, "use")
        self.pmem.clear_all()
        return seen, f"started again: {self.touch(self.start(None), 'use')}"

    def removal(self):
        talk = self.start(None)
        self.pmem.remove()
        if self.pmem.shim and talk.ends_within(self.notice_s):
            seen = f"{talk.end()} ends it, before any touch"
        else:
            seen = self.touch(talk, "use")
        self.pmem.enable()
        return seen, f"started again: {self.touch(self.start(None), 'use')}"

    def full(self):
        self.pmem.fill()
        try:
            return f"starts; {self.touch(self.start(None), 'use')}"
        except Gone as gone:
            return f"{gone} at the start"


CASES = [Interpreted, Compiled, Ext4, Heap]
