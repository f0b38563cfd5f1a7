/* Maps a file; obeys `load PAGE`, `store PAGE BYTE`, `sync`; answers `ok` or what it caught. With a
 * second argument it has a handler for SIGBUS, which jumps out of the access. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };

static sigjmp_buf before;
static volatile sig_atomic_t accessing;
static volatile int code;

static void on_sigbus(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  code = info->si_code;
  if (accessing) siglongjmp(before, 1);
}

static const char* name(void) {
  return code == BUS_MCEERR_AR   ? "BUS_MCEERR_AR"
         : code == BUS_MCEERR_AO ? "BUS_MCEERR_AO"
                                 : "BUS_ADRERR";
}

static void obey(volatile unsigned char* memory, size_t size, const char* line) {
  char word[10];
  size_t at = 0;
  unsigned value = 0;
  sscanf(line, "%9s %zu %u", word, &at, &value);
  if (sigsetjmp(before, 1) != 0) {
    accessing = 0;
    printf("caught SIGBUS, %s\n", name());
    return;
  }
  accessing = 1;
  if (*word == 'l') {
    value = memory[at * PAGE];
    printf("ok %u\n", value);
  } else if (strcmp(word, "store") == 0) {
    memory[at * PAGE] = (unsigned char)value;
    puts("ok");
  } else if (msync((void*)memory, size, MS_SYNC) != 0) {
    printf("caught %s\n", strerror(errno));
  } else {
    puts("ok");
  }
  accessing = 0;
}

int main(int argc, char** argv) {
  struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_RESTART};
  struct stat status;
  char line[100];
  int fd = open(argv[1], O_RDWR);
  if (fd < 0 || fstat(fd, &status) != 0) return 2;
  if (argc > 2) sigaction(SIGBUS, &action, NULL);
  size_t size = (size_t)status.st_size;
  void* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  puts("ready");
  while (fgets(line, sizeof(line), stdin)) obey(memory, size, line);
  return 0;
}
