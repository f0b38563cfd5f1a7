// A program that is built with a sanitizer: maps a file, touches a byte of it, and prints what its
// children are preloaded with. What the sanitizer reports goes to stdout, too.
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { kBytes = 16 * 4096 };

static char* mapped;

static void* store(void* argument) {
  mapped[*(size_t*)argument] = 's';
  return NULL;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  dup2(1, 2);
  const int fd = open(argv[1], O_RDWR);
  mapped = mmap(NULL, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return 3;
  close(fd);
  puts("mapped");
  fflush(stdout);
  size_t offset = strtoull(argv[2], NULL, 10);
  pthread_t thread;
  if (pthread_create(&thread, NULL, store, &offset) != 0) return 4;
  pthread_join(thread, NULL);
  char* copy = malloc(kBytes);
  memcpy(copy, mapped + kBytes / 2, kBytes / 2);
  free(copy);
  munmap(mapped, kBytes);
  const char* preload = getenv("LD_PRELOAD");
  puts(preload ? preload : "none");
  return 0;
}
