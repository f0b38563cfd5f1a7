"""QEMU: a guest whose memory, or whose NVDIMM, is a file of the mount."""

import glob
import os
import re
import shutil
import subprocess

from cases import MAPPERS, Case, difference
from support import PAGE, Gone

NAME = "QEMU, without KVM"
GROUP = "Virtual machines"
PACKAGES = ["qemu-system-x86", "busybox-static", "cpio", "gzip"]
VERSION = ["qemu-system-x86_64", "--version"]
ADVICE = (
    "The whole virtual machine ends, not only the guest's program that touched the page. Keep a "
    "guest's memory on memory that lives; start it again with its NVDIMM when that is good "
    "again."
)
MODULES = ("drivers/nvdimm/libnvdimm.ko", "drivers/nvdimm/nd_btt.ko", "drivers/nvdimm/nd_pmem.ko",
           "drivers/acpi/nfit/nfit.ko")  # fmt: skip
LINE = b"a line of the guest\n"  # guest.sh writes them


class Guest(Case):
    """Debian's kernel, unpacked and not installed, with busybox."""

    touch = ""  # a line for the guest

    def boot_files(self):
        """The kernel and the initial file system, made once a run."""
        folder = f"{self.pmem.directory}/guest"
        if not os.path.exists(f"{folder}/initrd"):
            os.makedirs(f"{folder}/root/bin", exist_ok=True)
            depends = self.pmem.plain("apt-cache", "depends", "linux-image-amd64").out.decode()
            package = re.search(r"Depends: (linux-image-\S+)", depends).group(1)
            get = ("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package)
            subprocess.run(get, cwd=folder, check=True, timeout=600)
            archive = glob.glob(f"{folder}/*.deb")[0]
            subprocess.run(("dpkg-deb", "-x", archive, f"{folder}/x"), check=True, timeout=600)
            for module in MODULES:
                built = glob.glob(f"{folder}/x/lib/modules/*/kernel/{module}")[0]
                shutil.copy(built, f"{folder}/root")
            shutil.copy("/bin/busybox", f"{folder}/root/bin")
            shutil.copy(f"{MAPPERS}/guest.sh", f"{folder}/root/init")
            os.chmod(f"{folder}/root/init", 0o755)
            pack = "find . | cpio -o -H newc --quiet | gzip -1 >../initrd"
            subprocess.run(pack, shell=True, cwd=f"{folder}/root", check=True, timeout=60)
        return glob.glob(f"{folder}/x/boot/vmlinuz*")[0], f"{folder}/initrd"

    def start(self):
        kernel, initrd = self.boot_files()
        machine = ("-accel", "tcg", "-cpu", "max", *self.memory(), "-nodefaults", "-no-reboot")
        console = ("-display", "none", "-serial", "stdio", "-append", "console=ttyS0 panic=-1")
        system = ("-kernel", kernel, "-initrd", initrd)
        return self.pmem.talk("qemu-system-x86_64", *machine, *console, *system, ready_s=150)

    def look(self, talk):
        try:
            return talk.ask(self.touch)
        except Gone as gone:
            return f"{gone} ends it"

    def fate(self, talk):
        """What is seen of a failure: under exec it may end the program by itself."""
        if self.pmem.shim and talk.ends_within(2):
            return f"{talk.end()} ends it, before any touch"
        return self.look(talk)

    def poison(self):
        talk = self.start()
        path, page = self.victim()
        self.pmem.poison(path, page)
        seen = self.fate(talk)
        self.pmem.clear(path)
        return seen, self.kept()

    def removal(self):
        talk = self.start()
        self.pmem.remove()
        seen = self.fate(talk)
        self.pmem.enable()
        return seen, self.kept()

    def kept(self):
        """What is there afterwards, if anything was to stay."""


class Memory(Guest):
    name = "the guest's memory"
    touch = "md5sum /file >/dev/null && echo ok"

    def memory(self):
        path = self.pmem.path("ram")
        backend = f"memory-backend-file,id=m,size=192M,mem-path={path},share=on"
        return ["-machine", "q35,memory-backend=m", "-m", "192M", "-object", backend]

    def victim(self):
        """A page of the guest's memory that holds its file."""
        with open(self.pmem.path("ram"), "rb") as file:
            at = 0
            while LINE * 300 not in file.read(1 << 20):
                at += 1 << 20
            return file.name, at // PAGE + 128


class Nvdimm(Guest):
    name = "the guest's NVDIMM"
    touch = "md5sum /dev/pmem0 >/dev/null && echo ok"
    pages = 8192

    def memory(self):
        path = self.pmem.file("nvdimm", self.pages)
        backend = f"memory-backend-file,id=n,size=32M,mem-path={path},share=on"
        return ["-machine", "q35,nvdimm=on", "-m", "192M,slots=2,maxmem=1G",
                "-object", backend, "-device", "nvdimm,memdev=n"]  # fmt: skip

    def victim(self):
        return self.pmem.path("nvdimm"), self.pages // 2

    def kept(self):
        return f"its file: {difference(self.pmem.path('nvdimm'), self.pages)}"


CASES = [Memory, Nvdimm]
