#!/usr/bin/env bash
# ext4, Linux 6.18 (made by e2fsprogs 1.47.0, Debian 12). Wants root and a loop device.
#
# Expected: lseek(fd, offset, SEEK_HOLE) finds the end of the data in about the same time, however many
# extents the file has: they are kept in trees, and there is no hole before the end of the file.
# Seen: it walks all extents behind the offset: with 16 times as many it takes more than 4 times as long.
# SEEK_DATA, for an offset that has data, takes the same time.
#
# Who asks for the end of each piece of a fragmented file (zeroing what is written, copying sparse
# files) takes time with the square of its extents.
set -euo pipefail
[[ $EUID == 0 ]] || { echo "wants root" >&2; exit 1; }
folder=$(mktemp -d)
trap 'umount -q "$folder/mnt" || true; rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq -o APT::Sandbox::User=root e2fsprogs=1.47.0-2+b2 libext2fs2=1.47.0-2+b2 >/dev/null
for package in *.deb; do dpkg -x "$package" root; done
truncate -s 256M image
library=$(dirname "$(find root -name 'libext2fs.so.2')")
LD_LIBRARY_PATH=$library root/sbin/mkfs.ext4 -q image
mkdir mnt
mount -o loop image mnt

cat >probe.py <<'P'
import contextlib, ctypes, os, time

PAGE, PUNCH_HOLE_KEEP_SIZE = 4096, 3
libc = ctypes.CDLL(None, use_errno=True)

def make(name, extents):
    """A file of `extents` pages, no two beside each other on the disk."""
    with open("mnt/filler", "wb", buffering=0) as filler:
        places = extents + extents // 8 + 64  # the file system's own blocks take some
        filler.write(bytes(2 * places * PAGE))
        os.fsync(filler.fileno())
        with open("mnt/rest", "wb", buffering=0) as rest:
            for piece in (1 << 20, PAGE):
                with contextlib.suppress(OSError):
                    while True:
                        rest.write(bytes(piece))
            os.fsync(rest.fileno())
            for i in range(places):
                if libc.fallocate(filler.fileno(), PUNCH_HOLE_KEEP_SIZE, ctypes.c_long(2 * i * PAGE),
                                  ctypes.c_long(PAGE)):
                    raise OSError(ctypes.get_errno(), "fallocate")
            os.sync()
            with open(f"mnt/{name}", "wb", buffering=0) as file:
                for i in range(extents):
                    file.write(bytes(PAGE))
                    if i % 64 == 63:
                        os.fsync(file.fileno())
                os.fsync(file.fileno())
    os.unlink("mnt/rest")

def ns(fd, whence):
    best = None
    for _ in range(200):
        begin = time.perf_counter_ns()
        os.lseek(fd, 0, whence)
        took = time.perf_counter_ns() - begin
        best = took if best is None or took < best else best
    return best

def of(name):
    fd = os.open(f"mnt/{name}", os.O_RDONLY)
    return ns(fd, os.SEEK_HOLE), ns(fd, os.SEEK_DATA)

make("few", 1000)
few = of("few")
os.unlink("mnt/few")
make("many", 16000)
many = of("many")
print("SEEK_HOLE:", "grows with the extents" if many[0] > 4 * few[0] else "takes the same time")
print("SEEK_DATA:", "grows with the extents" if many[1] > 4 * few[1] else "takes the same time")
print(f"(us: SEEK_HOLE {few[0] / 1e3:.0f}, {many[0] / 1e3:.0f}; SEEK_DATA {few[1] / 1e3:.1f}, "
      f"{many[1] / 1e3:.1f})")
P
python3 probe.py | tee seen
grep -v '^(' seen | diff - <(printf '%s\n' 'SEEK_HOLE: grows with the extents' 'SEEK_DATA: takes the same time')
echo "as found: ext4, $(uname -sr)"
