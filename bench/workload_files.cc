// Through a file descriptor: read, write, fsync; and a request's bare round trip.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "bench/workload.h"

namespace pmemd::bench {
namespace {

// Options: size; block; state=warm|cold. read(2) or write(2) of the whole file in blocks. ns: of a
// block.
class Transfer : public Workload {
 public:
  Transfer(const std::string& path, const Options& options, bool writes)
      : writes_(writes),
        cold_(options.text("state", "warm") == "cold"),
        block_(options.number("block", kPage)),
        file_(path, options.number("size", 64 << 20), false) {}

  Sample run() override {
    std::vector<char> bytes(block_, 'w');
    if (cold_) file_.make_cold();
    const double ns = time_of([&] {
      for (uint64_t at = 0; at + block_ <= file_.size(); at += block_) {
        const auto offset = static_cast<off_t>(at);
        const ssize_t count = writes_ ? pwrite(file_.fd(), bytes.data(), block_, offset)
                                      : pread(file_.fd(), bytes.data(), block_, offset);
        must(count == static_cast<ssize_t>(block_), writes_ ? "pwrite" : "pread");
      }
    });
    return {{"ns", ns / static_cast<double>(file_.size() / block_)}};
  }

 private:
  const bool writes_;
  const bool cold_;
  const uint64_t block_;
  const File file_;
};

// fsync after a write of 4 KiB. ns: of the fsync alone.
class Fsync : public Workload {
 public:
  Fsync(const std::string& path, const Options& options)
      : file_(path, options.number("size", 1 << 20), false), calls_(options.number("calls", 64)) {
    must(fsync(file_.fd()) == 0, "fsync");
  }

  Sample run() override {
    const std::vector<char> bytes(kPage, 'f');
    double ns = 0;
    for (uint64_t i = 0; i < calls_; ++i) {
      const uint64_t at = i * kPage % file_.size();
      must(pwrite(file_.fd(), bytes.data(), kPage, static_cast<off_t>(at)) > 0, "pwrite");
      ns += time_of([&] { must(fsync(file_.fd()) == 0, "fsync"); });
    }
    return {{"ns", ns / static_cast<double>(calls_)}};
  }

 private:
  const File file_;
  const uint64_t calls_;
};

// A question that the kernel hands on, whatever it has cached: the time of a round trip.
class Getattr : public Workload {
 public:
  Getattr(const std::string& path, const Options& options)
      : file_(path, kPage, false), calls_(options.number("calls", 2000)) {}

  Sample run() override {
    struct statx st = {};
    const double ns = time_of([&] {
      for (uint64_t i = 0; i < calls_; ++i) {
        must(
            statx(file_.fd(), "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &st) == 0,
            "statx");
      }
    });
    return {{"ns", ns / static_cast<double>(calls_)}};
  }

 private:
  const File file_;
  const uint64_t calls_;
};

}  // namespace

void add_file_workloads(std::map<std::string, Maker>& makers) {
  makers["read"] = [](const std::string& path, const Options& options) {
    return std::unique_ptr<Workload>(std::make_unique<Transfer>(path, options, false));
  };
  makers["write"] = [](const std::string& path, const Options& options) {
    return std::unique_ptr<Workload>(std::make_unique<Transfer>(path, options, true));
  };
  makers["fsync"] = [](const std::string& path, const Options& options) {
    return std::unique_ptr<Workload>(std::make_unique<Fsync>(path, options));
  };
  makers["getattr"] = [](const std::string& path, const Options& options) {
    return std::unique_ptr<Workload>(std::make_unique<Getattr>(path, options));
  };
}

}  // namespace pmemd::bench
