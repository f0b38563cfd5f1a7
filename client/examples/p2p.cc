#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "pmemd_ioctl.h"

int main(int, char** argv) {
  const int fd = open(argv[1], O_RDWR);
  pmemd_p2p_alloc buffer = {16384, 0};
  if (fd < 0 || ioctl(fd, PMEMD_IOC_P2P_ALLOC, &buffer) != 0) return perror(argv[1]), 1;
  void* const mapped = mmap(nullptr, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                            static_cast<off_t>(buffer.offset));
  if (mapped == MAP_FAILED) return perror("mmap"), 1;
  static_cast<char*>(mapped)[0] = 'x';  // let a device write here
  printf("a buffer at %llu\n", static_cast<unsigned long long>(buffer.offset));
  fflush(stdout);
  getchar();
  if (ioctl(fd, PMEMD_IOC_P2P_FREE, &buffer.offset) != 0) return perror("free"), 1;
  printf("returned\n");  // touching `mapped` raises SIGBUS from now on
}
