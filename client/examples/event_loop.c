/* Maps a file and prints what happens to it: uses the library's thread, has no loop of its own. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "pmemd_client.h"

static int on_event(const struct pmemd_event* event, void* context) {
  static const char* const kinds[] = {"?",       "poison",  "pre-remove", "removed",
                                      "enabled", "cleared", "takeover"};
  const char* kind = event->kind < sizeof(kinds) / sizeof(*kinds) ? kinds[event->kind] : "?";
  printf("%s: %s: bytes %llu to %llu, at address %#llx\n", (const char*)context, kind,
         event->offset, event->offset + event->length, event->address);
  fflush(stdout);
  return PMEMD_ANSWER_DONE; /* a removal need not wait for us */
}

int main(int argc, char** argv) {
  const int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
  struct stat file;
  if (fd < 0 || fstat(fd, &file) != 0) return perror("event_loop FILE"), 1;
  const size_t size = (size_t)file.st_size;
  void* mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return perror("mmap"), 1;

  struct pmemd_registration* registration;
  const int result = pmemd_register(fd, 0, size, mapped, on_event, argv[1], &registration);
  if (result != 0) return fprintf(stderr, "%s: %s\n", argv[1], strerror(-result)), 1;
  printf("%zu bytes at %p; Enter ends it\n", size, mapped);
  fflush(stdout);
  getchar();
  pmemd_unregister(registration);
  return 0;
}
