// A program that never stops using a pool, whatever becomes of it: load FILE DIRECTORY
//
// Threads load and store through a mapping of FILE, pin and unpin parts of it, and make, write,
// rename, read and delete files in DIRECTORY. A SIGBUS or an errno is an answer like any other;
// they go on. Says "ready" when all have begun. At the end of its input it stops and tells how
// often each was answered well and badly; at least once well, or it fails.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "client/pmemd_ioctl.h"
#include "tests/integration/support/client_memory.h"

namespace pmemd {
namespace {

constexpr size_t kLength = 4 << 20;

struct Load {
  std::atomic<uint64_t> good = 0;
  std::atomic<uint64_t> bad = 0;
  void count(bool is_good) { ++(is_good ? good : bad); }
};

void touch(Load& load, const Map& map, uint64_t value) {
  const uint64_t offset = mix(value) % (map.length / sizeof(value)) * sizeof(value);
  load.count(try_access(map, [&] {
               if (value % 2 == 0) {
                 *word_at(map, offset) = value;
               } else {
                 (void)*word_at(map, offset);
               }
             }).empty());
}

void pin(Load& load, int fd, uint64_t value) {
  pmemd_pin request{.offset = mix(value) % 512 * 4096, .length = 8192, .id = 0};
  const bool pinned = ioctl(fd, PMEMD_IOC_PIN, &request) == 0;
  load.count(pinned && ioctl(fd, PMEMD_IOC_UNPIN, &request.id) == 0);
}

void use_files(Load& load, const std::string& directory, uint64_t value) {
  const std::string name = directory + "/load" + std::to_string(value % 7);
  const int fd = open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  load.count(fd >= 0);
  if (fd < 0) return;
  std::array<char, 10000> bytes{};
  load.count(pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(value % 5 * 4096)) > 0);
  load.count(pread(fd, bytes.data(), bytes.size(), 0) >= 0);
  load.count(ftruncate(fd, 5000) == 0);
  load.count(close(fd) == 0);
  load.count(rename(name.c_str(), (name + "x").c_str()) == 0);
  load.count(unlink((name + "x").c_str()) == 0);
}

int run(const char* file, const std::string& directory) {
  const int fd = open(file, O_RDWR | O_CLOEXEC);
  void* base = mmap(nullptr, kLength, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) {
    perror(file);
    return 1;
  }
  const Map map{static_cast<char*>(base), kLength};
  std::atomic<bool> stop = false;
  std::array<Load, 4> loads;
  const std::array<std::function<void(Load&, uint64_t)>, 4> kinds = {
      [&](Load& load, uint64_t value) { touch(load, map, value); },
      [&](Load& load, uint64_t value) { touch(load, map, value + 1); },
      [&](Load& load, uint64_t value) { pin(load, fd, value); },
      [&](Load& load, uint64_t value) { use_files(load, directory, value); }};
  std::vector<std::thread> threads;
  setpriority(PRIO_PROCESS, 0, 19);  // the tests are about what is between the accesses
  for (size_t i = 0; i < kinds.size(); ++i) {
    threads.emplace_back([&, i] {
      for (uint64_t value = 0; !stop; ++value) kinds.at(i)(loads.at(i), value);
    });
  }
  for (const Load& load : loads) {
    while (load.good == 0) std::this_thread::yield();
  }
  puts("ready");
  fflush(stdout);
  while (getchar() != EOF) {
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (const Load& load : loads) printf("%lu good %lu bad\n", load.good.load(), load.bad.load());
  return 0;
}

}  // namespace
}  // namespace pmemd

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  struct sigaction action = {};
  action.sa_sigaction = pmemd::on_sigbus;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
  return pmemd::run(argv[1], argv[2]);
}
