/* Reads a mapped file that may fail under it: prints the good bytes and reports the failed ones. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "pmemd_client.h"

int main(int argc, char** argv) {
  const int fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;
  struct stat file;
  if (fd < 0 || fstat(fd, &file) != 0) return perror("guarded_read FILE"), 1;
  const size_t size = (size_t)file.st_size;
  const char* mapped = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return perror("mmap"), 1;

  char page[4096];
  for (size_t at = 0; at < size;) {
    const size_t wanted = size - at < sizeof(page) ? size - at : sizeof(page);
    size_t done;
    const int result = pmemd_read_guarded(page, mapped + at, wanted, &done);
    fwrite(page, 1, done, stdout);
    if (result != 0) fprintf(stderr, "%zu bytes at %zu: %s\n", wanted, at, strerror(-result));
    at += wanted;
  }
  return 0;
}
