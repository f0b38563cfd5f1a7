#!/usr/bin/env bash
# libpmem2 1.12.1 (Debian 12).
#
# Expected: pmem2_map_delete() frees all that pmem2_map_from_existing() has taken, as it does for
# pmem2_map_new().
# Seen: two blocks of memory, 144 bytes, and a thread-specific data key are lost with each pair of calls.
#
# A process that maps again and again grows by that; LeakSanitizer and valgrind report it. After some
# thousand times pthread_key_create() fails (EAGAIN) in the whole process: glibc has 1024 keys.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq -o APT::Sandbox::User=root libpmem2=1.12.1-2 libpmem2-dev=1.12.1-2 >/dev/null
for package in *.deb; do dpkg -x "$package" root; done

cat >probe.c <<'C'
#include <fcntl.h>
#include <libpmem2.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 2 << 20, CYCLES = 1000 };

static int cycle(int fd) {
  struct pmem2_source *source;
  struct pmem2_map *map;
  void *address = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (address == MAP_FAILED || pmem2_source_from_fd(&source, fd) != 0) return -1;
  if (pmem2_map_from_existing(&map, source, address, SIZE, PMEM2_GRANULARITY_PAGE) != 0) return -1;
  if (pmem2_map_delete(&map) != 0 || pmem2_source_delete(&source) != 0) return -1;
  return munmap(address, SIZE);
}

static int free_keys(void) {
  pthread_key_t keys[2048];
  int count = 0;
  while (count < 2048 && pthread_key_create(&keys[count], NULL) == 0) ++count;
  for (int i = 0; i < count; ++i) pthread_key_delete(keys[i]);
  return count;
}

int main(void) {
  int fd = open("file", O_RDWR | O_CREAT, 0600);
  if (fd < 0 || ftruncate(fd, SIZE) != 0 || cycle(fd) != 0) return 1;
  int keys = free_keys();
  for (int i = 0; i < 8; ++i)
    if (cycle(fd) != 0) return 1;
  printf("8 cycles: %d keys lost\n", keys - free_keys());
  size_t before = mallinfo2().uordblks;
  for (int i = 0; i < CYCLES; ++i)
    if (cycle(fd) != 0) return 1;
  size_t grown = mallinfo2().uordblks - before;
  printf("%d cycles: %s\n", CYCLES, grown >= 144 * CYCLES ? "at least 144 bytes lost in each" : "no growth");
  return 0;
}
C
library=$(dirname "$(find root -name 'libpmem2.so.1')")
gcc -O1 -I root/usr/include probe.c "$library/libpmem2.so.1" -Wl,-rpath-link,"$library" -o probe
LD_LIBRARY_PATH=$library ./probe | tee seen
printf '%s\n' '8 cycles: 8 keys lost' '1000 cycles: at least 144 bytes lost in each' | diff - seen
echo "as found: libpmem2 1.12.1, $(uname -sr)"
