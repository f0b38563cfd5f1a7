#!/usr/bin/env bash
# libpmem2 1.12.1 (Debian 12), Linux 6.18, a file on ext4.
#
# Expected: pmem2_map_new() reserves an address range and maps the file there; at no time is the range
# anybody's to take.
# Seen: it maps over its reservation with MAP_FIXED | MAP_SYNC. On a file system without DAX that call
# fails, and the kernel has dropped the reservation by then: the range is free. The next call,
# MAP_FIXED again without MAP_SYNC, maps there whatever has come in between. In a program with threads
# that is another thread's memory.
#
# The program asks the kernel, between the two calls, whether the range is still mapped. It has one
# thread, so nothing is hit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq -o APT::Sandbox::User=root libpmem2=1.12.1-2 libpmem2-dev=1.12.1-2 >/dev/null
for package in *.deb; do dpkg -x "$package" root; done

cat >probe.c <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libpmem2.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Stands before libc's: does the call, and looks what a failed one has left. */
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  void *result = (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
  if (result == MAP_FAILED && (flags & MAP_FIXED)) {
    int error = errno;
    unsigned char resident;
    int free_now = mincore(address, 1, &resident) != 0 && errno == ENOMEM;
    printf("MAP_FIXED%s failed with %s; the reservation is %s\n",
           flags & MAP_SYNC ? " | MAP_SYNC" : "", error == EOPNOTSUPP ? "EOPNOTSUPP" : "another",
           free_now ? "gone" : "there");
    errno = error;
  } else if (flags & MAP_FIXED) {
    printf("MAP_FIXED%s succeeded\n", flags & MAP_SYNC ? " | MAP_SYNC" : "");
  }
  return result;
}

int main(void) {
  int fd = open("file", O_RDWR | O_CREAT, 0600);
  struct pmem2_config *config;
  struct pmem2_source *source;
  struct pmem2_map *map;
  if (fd < 0 || ftruncate(fd, 4 << 20) != 0 || pmem2_config_new(&config) != 0 ||
      pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE) != 0 ||
      pmem2_source_from_fd(&source, fd) != 0 || pmem2_map_new(&map, config, source) != 0)
    return 1;
  return 0;
}
C
library=$(dirname "$(find root -name 'libpmem2.so.1')")
gcc -O1 -I root/usr/include probe.c "$library/libpmem2.so.1" -Wl,-rpath-link,"$library" -o probe
LD_LIBRARY_PATH=$library ./probe | tee seen
printf '%s\n' 'MAP_FIXED | MAP_SYNC failed with EOPNOTSUPP; the reservation is gone' \
  'MAP_FIXED succeeded' | diff - seen
echo "as found: libpmem2 1.12.1, $(uname -sr), $(stat -f -c %T .)"
