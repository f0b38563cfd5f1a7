#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "pmemd_ioctl.h"

int main(int, char** argv) {
  const int fd = open(argv[1], O_RDWR);
  void* const mapped = mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return perror(argv[1]), 1;
  madvise(mapped, 65536, MADV_RANDOM);  // a touch brings back one page, not those around it
  char* const memory = static_cast<char*>(mapped);
  memory[0] = 'x';
  pmemd_migrate migrate = {0, 65536, 0};
  if (ioctl(fd, PMEMD_IOC_MIGRATE, &migrate) != 0) return perror("migrate"), 1;
  printf("%llu pages went to the device\n", static_cast<unsigned long long>(migrate.pages));
  fflush(stdout);
  getchar();
  printf("and back comes %c\n", memory[0]);
}
