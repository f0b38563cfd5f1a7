// One kind of work on one path, timed: what script/bench runs on ours and on each reference.
//
// A workload is set up once. Each run() is one sample: it brings about the state that it wants (a
// cold cache, a dirty page) first, and only then the clock runs.
//
// Thread contract: one thread; run() starts and ends those it wants.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace pmemd::bench {

// "size=1048576 order=random", as on the command line.
class Options {
 public:
  Options(std::vector<std::string> words);
  uint64_t number(const std::string& name, uint64_t otherwise) const;
  std::string text(const std::string& name, const std::string& otherwise) const;

 private:
  std::map<std::string, std::string> values_;
};

// What took how long: nanoseconds of one operation (a page, an access, a call).
using Sample = std::map<std::string, double>;

class Workload {
 public:
  Workload() = default;
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;
  virtual ~Workload() = default;
  virtual Sample run() = 0;
};

using Maker = std::unique_ptr<Workload> (*)(const std::string& path, const Options& options);
void add_memory_workloads(std::map<std::string, Maker>& makers);
void add_file_workloads(std::map<std::string, Maker>& makers);
void add_metadata_workloads(std::map<std::string, Maker>& makers);
void add_process_workloads(std::map<std::string, Maker>& makers);

// A measurement that failed has no result: says which call, and ends the program.
void must(bool holds, const std::string& what);

using Clock = std::chrono::steady_clock;

// Nanoseconds that `work` takes.
template <class Work>
double time_of(Work work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
}

constexpr uint64_t kPage = 4096;

// A file that is open for reading and writing, of `size` bytes; made, and written where it wasn't.
// `fresh`: made anew, without a byte written.
class File {
 public:
  File(std::string path, uint64_t size, bool fresh);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int fd() const { return fd_; }
  uint64_t size() const { return size_; }
  // Nothing of it is in the page cache; checked.
  void make_cold() const;

 private:
  int fd_ = -1;
  uint64_t size_;
};

// A shared mapping of all of a file.
class Mapped {
 public:
  explicit Mapped(const File& file);
  ~Mapped();
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;

  char* data() const { return data_; }
  uint64_t size() const { return size_; }
  uint64_t resident_pages() const;  // in the page cache, mapped or not

 private:
  char* data_;
  uint64_t size_;
};

}  // namespace pmemd::bench
