// workload NAME PATH [OPTION=VALUE...]
//
// Prints "ready" when it is set up. Then, for each line on standard input, one run and one line of
// JSON: nanoseconds of one operation, by name. Ends with its input.
#include "bench/workload.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <utility>

namespace pmemd::bench {

Options::Options(std::vector<std::string> words) {
  for (const std::string& word : words) {
    const size_t sign = word.find('=');
    must(sign != std::string::npos, word + ": no OPTION=VALUE");
    values_[word.substr(0, sign)] = word.substr(sign + 1);
  }
}

uint64_t Options::number(const std::string& name, uint64_t otherwise) const {
  const auto found = values_.find(name);
  return found == values_.end() ? otherwise : std::strtoull(found->second.c_str(), nullptr, 10);
}

std::string Options::text(const std::string& name, const std::string& otherwise) const {
  const auto found = values_.find(name);
  return found == values_.end() ? otherwise : found->second;
}

void must(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "workload: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

File::File(std::string path, uint64_t size, bool fresh) : size_(size) {
  if (fresh) unlink(path.c_str());
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  must(fd_ >= 0, path);
  if (fresh) {
    must(ftruncate(fd_, static_cast<off_t>(size)) == 0, path);
    return;
  }
  struct stat st = {};
  must(fstat(fd_, &st) == 0, path);
  const std::vector<char> bytes(1 << 20, 'x');
  auto at = static_cast<uint64_t>(st.st_size);
  while (at < size) {
    const size_t length = std::min<uint64_t>(bytes.size(), size - at);
    const ssize_t count = pwrite(fd_, bytes.data(), length, static_cast<off_t>(at));
    must(count > 0, path);
    at += static_cast<uint64_t>(count);
  }
}

File::~File() { close(fd_); }

void File::make_cold() const {
  must(fsync(fd_) == 0, "fsync");
  // What was just read may still be on its way to the lists that DONTNEED looks through.
  for (int attempt = 0; attempt < 10; ++attempt) {
    must(posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED) == 0, "fadvise");
    if (Mapped(*this).resident_pages() == 0) return;
  }
  errno = EBUSY;
  must(false, "pages stay in the page cache");
}

Mapped::Mapped(const File& file) : size_(file.size()) {
  void* const at = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
  must(at != MAP_FAILED, "mmap");
  data_ = static_cast<char*>(at);
}

Mapped::~Mapped() { munmap(data_, size_); }

uint64_t Mapped::resident_pages() const {
  std::vector<unsigned char> pages(size_ / kPage);
  must(mincore(data_, size_, pages.data()) == 0, "mincore");
  return static_cast<uint64_t>(
      std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; }));
}

namespace {

void print(const Sample& sample) {
  const char* separator = "{";
  for (const auto& [name, ns] : sample) {
    std::printf("%s\"%s\": %.3f", separator, name.c_str(), ns);
    separator = ", ";
  }
  std::printf("}\n");
  std::fflush(stdout);
}

int run(const std::string& name, const std::string& path, const Options& options) {
  std::map<std::string, Maker> makers;
  add_memory_workloads(makers);
  add_file_workloads(makers);
  add_metadata_workloads(makers);
  add_process_workloads(makers);
  const auto maker = makers.find(name);
  errno = EINVAL;
  must(maker != makers.end(), name);
  const auto workload = maker->second(path, options);
  std::puts("ready");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) print(workload->run());
  return 0;
}

}  // namespace
}  // namespace pmemd::bench

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "workload NAME PATH [OPTION=VALUE...]\n");
    return 2;
  }
  return pmemd::bench::run(argv[1], argv[2], pmemd::bench::Options({argv + 3, argv + argc}));
}
