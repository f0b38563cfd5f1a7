// Processes in a ring: each has a file mapped, reads the next one's file into that mapping with
// O_DIRECT, and writes it back from there. Each one's buffer is another's file.
//
//   pmemd_test_direct_io_ring DIRECTORY PROCESSES BYTES ROUNDS
//
// Prints "done" when all have made their rounds.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

struct Ring {
  std::string directory;
  int processes;
  size_t bytes;
  int rounds;

  std::string file(int i) const { return directory + "/" + std::to_string(i % processes); }
};

[[noreturn]] void die(const std::string& what) {
  std::perror(what.c_str());
  std::_Exit(1);
}

void make_file(const std::string& path, size_t bytes) {
  const int fd = open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) die(path);
  const std::string content(bytes, 'x');
  if (write(fd, content.data(), bytes) != static_cast<ssize_t>(bytes)) die(path);
  close(fd);
}

[[noreturn]] void run(const Ring& ring, int i) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int own = open(ring.file(i).c_str(), O_RDWR | O_CLOEXEC);
  const int next = open(ring.file(i + 1).c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
  if (own < 0 || next < 0) die(ring.file(i));
  void* const buffer = mmap(nullptr, ring.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
  if (buffer == MAP_FAILED) die("mmap");
  // What a call returns isn't the point: a neighbour may keep a page from being dropped.
  for (int round = 0; round < ring.rounds; ++round) {
    (void)!pread(next, buffer, ring.bytes, 0);
    (void)!pwrite(next, buffer, ring.bytes, 0);
  }
  std::_Exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const Ring ring{argv[1], std::atoi(argv[2]), std::strtoul(argv[3], nullptr, 10),
                  std::atoi(argv[4])};
  for (int i = 0; i < ring.processes; ++i) make_file(ring.file(i), ring.bytes);
  for (int i = 0; i < ring.processes; ++i) {
    const pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) run(ring, i);
  }
  for (int i = 0; i < ring.processes; ++i) {
    int status = 0;
    if (wait(&status) < 0 || status != 0) return 1;
  }
  std::puts("done");
  return 0;
}
