// Threads that store and load through a mapping of all of a file, without end, and count for each
// page how often that went well and how often it was a SIGBUS: storm FILE THREADS
//
// Half of the accesses go anywhere, half to the focus. By lines, each answered:
//   focus BEGIN END   pages from now on in focus; everything is counted anew: "ok"
//   good              the least number of good accesses that a page in focus has had
//   bad               "<first>-<last>:<least>" of each run of pages that had a SIGBUS, and the
//   least
//                     number that one of them had; "none"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/support/client_memory.h"

namespace pmemd {
namespace {

constexpr uint64_t kPage = 4096;

struct Storm {
  explicit Storm(const Map& mapped)
      : map(mapped), pages(mapped.length / kPage), good(pages), bad(pages) {}

  const Map map;
  const uint64_t pages;
  std::atomic<uint64_t> focus_begin = 0, focus_end = 1;
  std::vector<std::atomic<uint32_t>> good, bad;
  std::atomic<bool> stop = false;

  // A number of the page's own in each word, so that no page ever holds another's.
  void access(uint64_t value) {
    const uint64_t begin = focus_begin;
    const uint64_t page =
        value % 2 == 0 ? mix(value) % pages : begin + mix(value) % (focus_end - begin);
    const uint64_t offset = page * kPage + mix(value + 1) % (kPage / 8) * 8;
    const bool is_good = try_access(map, [&] {
                           auto* word = reinterpret_cast<volatile uint64_t*>(map.base + offset);
                           const uint64_t found = *word;
                           if (found != 0 && found != page + 1) abort();
                           *word = page + 1;
                         }).empty();
    ++(is_good ? good : bad).at(page);
  }

  void set_focus(uint64_t begin, uint64_t end) {
    focus_begin = begin;
    focus_end = end;
    for (auto* counts : {&good, &bad}) {
      for (auto& count : *counts) count = 0;
    }
  }
  uint32_t least_good() const {
    uint32_t least = UINT32_MAX;
    for (uint64_t page = focus_begin; page < focus_end; ++page) {
      least = std::min(least, good.at(page).load());
    }
    return least;
  }
  std::string bad_runs() const {
    std::string text;
    for (uint64_t page = 0; page < pages; ++page) {
      if (bad.at(page) == 0) continue;
      const uint64_t first = page;
      uint32_t least = UINT32_MAX;
      for (; page < pages && bad.at(page) != 0; ++page)
        least = std::min(least, bad.at(page).load());
      text += std::to_string(first) + "-" + std::to_string(page - 1) + ":" + std::to_string(least) +
              " ";
    }
    return text.empty() ? "none" : text;
  }
};

std::string answer(Storm& storm, const std::string& line) {
  std::istringstream words(line);
  std::string word;
  words >> word;
  if (word == "focus") {
    uint64_t begin = 0, end = 0;
    words >> begin >> end;
    if (begin >= end || end > storm.pages) return "what?";
    storm.set_focus(begin, end);
    return "ok";
  }
  if (word == "good") return std::to_string(storm.least_good());
  if (word == "bad") return storm.bad_runs();
  return "what?";
}

int run(const char* file, int thread_count) {
  const int fd = open(file, O_RDWR | O_CLOEXEC);
  struct stat st = {};
  if (fd < 0 || fstat(fd, &st) != 0) {
    perror(file);
    return 1;
  }
  const auto length = static_cast<size_t>(st.st_size);
  void* base = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) {
    perror(file);
    return 1;
  }
  Storm storm(Map{static_cast<char*>(base), length});
  setpriority(PRIO_PROCESS, 0, 19);  // the tests are about what is between the accesses
  std::vector<std::thread> threads;
  for (int i = 0; i < thread_count; ++i) {
    threads.emplace_back([&storm, i] {
      for (uint64_t value = static_cast<uint64_t>(i) << 48; !storm.stop; ++value) {
        storm.access(value);
      }
    });
  }
  std::string line;
  while (std::getline(std::cin, line)) std::cout << answer(storm, line) << std::endl;
  storm.stop = true;
  for (std::thread& thread : threads) thread.join();
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
  return pmemd::run(argv[1], std::atoi(argv[2]));
}
