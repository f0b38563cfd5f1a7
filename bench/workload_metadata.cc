// Names: what a directory of many files costs, by the operation.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <numeric>
#include <random>
#include <thread>

#include "bench/workload.h"

namespace pmemd::bench {
namespace {

// Drops what the kernel has cached of names and inodes, of all file systems. Root alone may. A FUSE
// server is told of each; that this is done is told to nobody, so it gets a generous time.
bool drop_names(uint64_t files) {
  const int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = write(fd, "2", 1) == 1;
  close(fd);
  if (done) std::this_thread::sleep_for(std::chrono::milliseconds(50 + files / 200));
  return done;
}

// Options: files; sample: of how many of them single operations are tried. One directory. Each run
// makes it anew and leaves it empty, save `keep=1`. ns by operation, of one file.
class Metadata : public Workload {
 public:
  Metadata(const std::string& path, const Options& options)
      : path_(path),
        files_(options.number("files", 1000)),
        keep_(options.number("keep", 0) != 0),
        sample_(files_) {
    std::iota(sample_.begin(), sample_.end(), uint64_t{0});
    std::ranges::shuffle(sample_, std::minstd_rand(1));
    sample_.resize(std::min<size_t>(files_, options.number("sample", 20000)));
  }

  Sample run() override {
    Sample ns;
    must(mkdir(path_.c_str(), 0755) == 0, path_);
    dir_ = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(dir_ >= 0, path_);
    ns["create"] = time_of([&] { create_all(); }) / static_cast<double>(files_);
    if (drop_names(files_)) ns["stat_cold"] = of_sample([&](uint64_t i) { stat_one(i); });
    ns["stat_warm"] = of_sample([&](uint64_t i) { stat_one(i); });
    ns["readdir"] = time_of([&] { list(); }) / static_cast<double>(files_);
    ns["rename"] = of_sample([&](uint64_t i) {
      must(renameat(dir_, name(i).c_str(), dir_, name(i, 'r').c_str()) == 0, "rename");
    });
    ns["unlink"] = of_sample(
        [&](uint64_t i) { must(unlinkat(dir_, name(i, 'r').c_str(), 0) == 0, "unlink"); });
    if (!keep_) remove_rest();
    close(dir_);
    return ns;
  }

 private:
  static std::string name(uint64_t i, char prefix = 'f') {
    return prefix + std::string("ile-") + std::to_string(i);
  }

  void create_all() const {
    for (uint64_t i = 0; i < files_; ++i) {
      const int fd = openat(dir_, name(i).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
      must(fd >= 0, "create");
      close(fd);
    }
  }
  void stat_one(uint64_t i) const {
    struct stat st = {};
    must(fstatat(dir_, name(i).c_str(), &st, 0) == 0, "stat");
  }
  void list() const {
    DIR* const dir = opendir(path_.c_str());
    must(dir != nullptr, "opendir");
    uint64_t count = 0;
    while (readdir(dir) != nullptr) ++count;
    closedir(dir);
    must(count == files_ + 2, "readdir");  // and . and ..
  }
  template <class Work>
  double of_sample(Work work) const {
    return time_of([&] {
             for (const uint64_t i : sample_) work(i);
           }) /
           static_cast<double>(sample_.size());
  }
  void remove_rest() const {
    for (uint64_t i = 0; i < files_; ++i) unlinkat(dir_, name(i).c_str(), 0);
    must(rmdir(path_.c_str()) == 0, "rmdir");
  }

  const std::string path_;
  const uint64_t files_;
  const bool keep_;
  std::vector<uint64_t> sample_;
  int dir_ = -1;
};

}  // namespace

void add_metadata_workloads(std::map<std::string, Maker>& makers) {
  makers["metadata"] = [](const std::string& path, const Options& options) {
    return std::unique_ptr<Workload>(std::make_unique<Metadata>(path, options));
  };
}

}  // namespace pmemd::bench
