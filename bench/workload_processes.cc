// Processes that are in the way of a removal, or only there.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "bench/workload.h"

namespace pmemd::bench {
namespace {

// Options: processes; bytes: that each touches from the file's start; access=read|write. Each maps
// all of PATH ("-": no file, they only wait), and is there until the workload ends. A run only
// tells their number.
class Processes : public Workload {
 public:
  Processes(const std::string& path, const Options& options) : path_(path) {
    const uint64_t count = options.number("processes", 1);
    int ready[2] = {};
    must(pipe(ready) == 0, "pipe");
    pids_.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      const pid_t pid = fork();
      must(pid >= 0, "fork");
      if (pid == 0) live(options, ready[1]);
      pids_.push_back(pid);
    }
    close(ready[1]);
    char byte = 0;
    for (uint64_t i = 0; i < count; ++i) must(read(ready[0], &byte, 1) == 1, "a process failed");
    close(ready[0]);
  }

  ~Processes() override {
    for (const pid_t pid : pids_) kill(pid, SIGKILL);
    for (const pid_t pid : pids_) waitpid(pid, nullptr, 0);
  }

  Sample run() override { return {{"processes", static_cast<double>(pids_.size())}}; }

 private:
  [[noreturn]] void live(const Options& options, int ready) const {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (path_ != "-") map(options.number("bytes", 0), options.text("access", "read") == "write");
    if (write(ready, "x", 1) != 1) _exit(1);
    while (true) pause();
  }
  void map(uint64_t bytes, bool writes) const {
    const int fd = open(path_.c_str(), O_RDWR | O_CLOEXEC);
    struct stat st = {};
    must(fd >= 0 && fstat(fd, &st) == 0, path_);
    void* const at = mmap(nullptr, static_cast<size_t>(st.st_size), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_NORESERVE, fd, 0);
    must(at != MAP_FAILED, "mmap");
    auto* const data = static_cast<volatile char*>(at);
    for (uint64_t i = 0; i < bytes; i += kPage) {
      if (writes)
        data[i] = 'm';
      else
        (void)data[i];
    }
  }

  const std::string path_;
  std::vector<pid_t> pids_;
};

}  // namespace

void add_process_workloads(std::map<std::string, Maker>& makers) {
  makers["processes"] = [](const std::string& path, const Options& options) {
    return std::unique_ptr<Workload>(std::make_unique<Processes>(path, options));
  };
}

}  // namespace pmemd::bench
