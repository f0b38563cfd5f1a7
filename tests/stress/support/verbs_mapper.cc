// A program that maps one file of a mount and uses it, whatever becomes of it:
//   verbs_mapper keep ID FILE RECORD   stores generations of a pattern, msyncs each, and compares
//   verbs_mapper look ID FILE RECORD   compares once
//   verbs_mapper touch FILE            loads and stores anywhere
//
// RECORD is a file of one page outside of the mount, shared with whoever started this: how far it
// got outlives the process. Each page of FILE holds its generation, its number and ID, at both of
// its ends: a page of another file, of another time, or a torn one is seen. Exit 3: a page was
// wrong (what, on stderr). A SIGBUS or an errno is an answer like any other.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/base/unique_fd.h"
#include "tests/integration/support/client_memory.h"
#include "tests/stress/support/verbs_record.h"

namespace pmemd {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kPages = 16;
constexpr size_t kLength = kPages * kPage;

void pause_ms(int ms) { (void)poll(nullptr, 0, ms); }

// FILE, mapped; nothing, where it can't be had now.
class MappedFile {
 public:
  MappedFile(const char* path, int flags, size_t most) {
    fd_.reset(open(path, flags | O_CLOEXEC, 0644));
    struct stat st = {};
    if (!fd_ || fstat(fd_.get(), &st) != 0) return;
    if ((flags & O_CREAT) != 0) {
      if (posix_fallocate(fd_.get(), 0, static_cast<off_t>(most)) != 0) return;
      st.st_size = static_cast<off_t>(most);
    }
    const size_t length = std::min(most, static_cast<size_t>(st.st_size));
    if (length == 0) return;
    void* base = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    if (base != MAP_FAILED) map_ = {static_cast<char*>(base), length};
  }
  ~MappedFile() {
    if (map_.base != nullptr) munmap(map_.base, map_.length);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  explicit operator bool() const { return map_.base != nullptr; }
  const Map& map() const { return map_; }

 private:
  UniqueFd fd_;
  Map map_;
};

class Keeper {
 public:
  Keeper(uint64_t id, const char* file, VerbsRecord& record)
      : id_(id), file_(file), record_(record) {}

  [[noreturn]] void keep() {
    while (true) {
      const MappedFile file(file_, O_RDWR | O_CREAT, kLength);
      if (file && compare(file.map())) {
        ++record_.rounds;
        while (store_generation(file.map())) {
        }
      }
      pause_ms(2);
    }
  }

  // False: not to be had now.
  bool look() {
    const MappedFile file(file_, O_RDWR, kLength);
    return file && compare(file.map());
  }

 private:
  uint64_t word(size_t page, uint64_t generation) const {
    return id_ << 56 | uint64_t{page} << 48 | generation;
  }
  static std::array<volatile uint64_t*, 2> ends(const Map& map, size_t page) {
    return {word_at(map, page * kPage), word_at(map, (page + 1) * kPage - sizeof(uint64_t))};
  }

  bool store_generation(const Map& map) {
    const uint64_t generation = record_.attempted + 1;
    record_.attempted = generation;
    const std::string end = try_access(map, [&] {
      for (size_t page = 0; page < kPages; ++page) {
        for (volatile uint64_t* at : ends(map, page)) *at = word(page, generation);
      }
    });
    if (!end.empty() || msync(map.base, kLength, MS_SYNC) != 0) return false;
    record_.synced = generation;
    return true;
  }

  // Nothing older than what was synced, nothing that was never stored.
  bool compare(const Map& map) {
    const uint64_t synced = record_.synced, attempted = record_.attempted;
    std::array<std::array<uint64_t, 2>, kPages> found{};
    const std::string end = try_access(map, [&] {
      for (size_t page = 0; page < kPages; ++page) {
        for (size_t i = 0; i < 2; ++i) found[page][i] = *ends(map, page)[i];
      }
    });
    if (!end.empty()) return false;
    for (size_t page = 0; page < kPages; ++page) {
      for (const uint64_t value : found.at(page)) {
        if (value == 0 && synced == 0) continue;
        if (value >= word(page, synced) && value <= word(page, attempted)) continue;
        fprintf(stderr, "%s: page %zu holds %lx; synced %lx, attempted %lx\n", file_, page, value,
                word(page, synced), word(page, attempted));
        _exit(3);
      }
    }
    return true;
  }

  const uint64_t id_;
  const char* const file_;
  VerbsRecord& record_;
};

[[noreturn]] void touch(const char* path) {
  for (uint64_t value = static_cast<uint64_t>(getpid());; ++value) {
    const MappedFile file(path, O_RDWR, 1 << 20);
    for (int i = 0; file && i < 200; ++i) {
      const uint64_t offset = mix(++value) % (file.map().length / sizeof(value)) * sizeof(value);
      const std::string end = try_access(file.map(), [&] {
        if (value % 2 == 0) {
          *word_at(file.map(), offset) = value;
        } else {
          (void)*word_at(file.map(), offset);
        }
      });
      if (!end.empty()) break;
    }
    pause_ms(2);
  }
}

VerbsRecord& open_record(const char* path) {
  const UniqueFd fd(open(path, O_RDWR | O_CLOEXEC));
  void* base = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (base == MAP_FAILED) {
    perror(path);
    _exit(2);
  }
  return *static_cast<VerbsRecord*>(base);
}

}  // namespace
}  // namespace pmemd

int main(int argc, char** argv) {
  struct sigaction action = {};
  action.sa_sigaction = pmemd::on_sigbus;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
  const std::string what = argc > 2 ? argv[1] : "";
  if (what == "touch") pmemd::touch(argv[2]);
  if (argc != 5) return 2;
  pmemd::Keeper keeper(strtoull(argv[2], nullptr, 10), argv[3], pmemd::open_record(argv[4]));
  if (what == "keep") keeper.keep();
  return keeper.look() ? 0 : 1;
}
