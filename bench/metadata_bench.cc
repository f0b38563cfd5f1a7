// What a change and a look-up of metadata cost in core/filesystem, without FUSE: in a pool on a
// tmpfs, at several numbers of files.
//
// CPU time of this process, so that other programs matter little; allocations counted in malloc(),
// SQLite's among them. The last column is the exponent that fits the growth of a round's whole
// time: 1 is flat. Names are in no order, as a program's seldom are.
//
// metadata_bench [FILES…]     (default: 1000 10000 100000)
#include <fmt/format.h>
#include <malloc.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/units.h"
#include "core/filesystem/filesystem.h"
#include "core/media/namespace_media.h"
#include "core/pool/pool.h"
#include "core/pool/schema.h"

namespace {
std::atomic<uint64_t> allocations = 0;
}

// Takes the place of the C library's for the whole process.
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming): glibc's name
extern "C" void* __libc_malloc(size_t size);
extern "C" void* malloc(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}

namespace pmemd {
namespace {

constexpr uint64_t kRegionSize = 16 * kGiB;  // sparse

template <class T>
T must(Result<T> result) {
  if (!result) {
    fmt::print(stderr, "{}\n", result.error().describe());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

size_t heap_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// A pool of its own and what a device would put around its file system.
class Mounted {
 public:
  Mounted() : directory_(make_directory()) {
    pool_ = must(Pool::create(directory_ + "/pool", kRegionSize, Reservation::kSparse));
    open();
  }
  ~Mounted() {
    fs_.reset();
    media_.reset();
    pool_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;

  // As a new daemon finds it.
  void reopen() {
    fs_.reset();
    media_.reset();
    pool_.reset();
    pool_ = must(Pool::open(directory_ + "/pool", Pool::Mode::kReadWrite));
    open();
  }
  FileSystem& fs() { return *fs_; }
  LookupCounts& lookups() { return lookups_; }
  Srcu& srcu() { return srcu_; }

 private:
  static std::string make_directory() {
    std::string path = "/dev/shm/pmemd-bench-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) std::exit(1);
    return path;
  }
  void open() {
    const NamespaceRecord record = pool_->namespaces().front();
    media_ = std::make_unique<NamespaceMedia>(must(pool_->map_namespace(record)),
                                              *pool_->media_errors(record.region), record);
    must(FileSystem::format(pool_->database(), record.serial, media_->size_bytes(), {}));
    fs_ = must(
        FileSystem::mount(pool_->database(), *media_, srcu_, lookups_, {.serial = record.serial}));
  }

  const std::string directory_;
  Srcu srcu_;
  LookupCounts lookups_;
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<NamespaceMedia> media_;
  std::unique_ptr<FileSystem> fs_;
};

struct Cost {
  uint64_t files = 0;
  double cpu_us = 0;  // of one
  double allocations = 0;
};

class Table {
 public:
  void measure(const std::string& what, uint64_t files, const std::function<void(uint64_t)>& one) {
    const uint64_t allocated = allocations;
    const double begin = cpu_seconds();
    for (uint64_t i = 0; i < files; ++i) one(i);
    const double each = (cpu_seconds() - begin) / static_cast<double>(files);
    add(what, {files, each * 1e6,
               static_cast<double>(allocations - allocated) / static_cast<double>(files)});
  }
  void add(const std::string& what, Cost cost) {
    if (!costs_.contains(what)) order_.push_back(what);
    costs_[what].push_back(cost);
  }

  void print() const {
    fmt::print("CPU time of one, µs (allocations), by the number of files\n{:<26}", "");
    for (const Cost& cost : costs_.at(order_.front())) fmt::print("{:>18}", cost.files);
    fmt::print("{:>10}\n", "exponent");
    for (const auto& what : order_) {
      fmt::print("{:<26}", what);
      for (const Cost& cost : costs_.at(what)) {
        fmt::print("{:>18}", fmt::format("{:.2f} ({:.1f})", cost.cpu_us, cost.allocations));
      }
      fmt::print("{:>10.2f}\n", exponent(costs_.at(what)));
    }
  }

 private:
  // The slope of log(time of all) over log(files), by least squares.
  static double exponent(const std::vector<Cost>& costs) {
    double x = 0, y = 0, xx = 0, xy = 0;
    const auto n = static_cast<double>(costs.size());
    for (const Cost& cost : costs) {
      const double log_files = std::log(static_cast<double>(cost.files));
      const double log_time = std::log(cost.cpu_us * static_cast<double>(cost.files));
      x += log_files;
      y += log_time;
      xx += log_files * log_files;
      xy += log_files * log_time;
    }
    return costs.size() < 2 ? 0 : (n * xy - x * y) / (n * xx - x * x);
  }

  std::vector<std::string> order_;
  std::map<std::string, std::vector<Cost>> costs_;
};

std::string name_of(uint64_t i) { return fmt::format("f{:016x}", (i + 1) * 0x9e3779b97f4a7c15U); }

void run(uint64_t files, Table& table) {
  Mounted mounted;
  const uint64_t root = mounted.fs().root();
  std::vector<uint64_t> inos(files);
  const auto section = [&] { return mounted.srcu().read_lock(); };

  const size_t before = heap_bytes();
  table.measure("create", files, [&](uint64_t i) {
    const auto reading = section();
    inos[i] = must(mounted.fs().mknod(root, name_of(i), S_IFREG | 0644, 0, {})).ino;
    mounted.lookups().add(inos[i]);
  });
  const size_t created = heap_bytes() - before;
  table.measure("getattr, warm", files, [&](uint64_t i) { must(mounted.fs().getattr(inos[i])); });
  table.measure("lookup, warm", files,
                [&](uint64_t i) { must(mounted.fs().lookup(root, name_of(i))); });
  table.measure("lookup, none there", files,
                [&](uint64_t i) { (void)mounted.fs().lookup(root, name_of(i) + "x"); });
  table.measure("reopen, of all", 1, [&](uint64_t) {
    mounted.reopen();
    must(mounted.fs().statfs());
  });
  const size_t reopened = heap_bytes();
  table.measure("lookup, cold", files,
                [&](uint64_t i) { must(mounted.fs().lookup(root, name_of(i))); });
  const size_t looked_up = heap_bytes() - reopened;
  mounted.reopen();
  table.measure("readdir, of all", 1, [&](uint64_t) {
    must(mounted.fs().readdir(root, 0, [](const DirEntry&) { return true; }));
  });
  const std::string data(4096, 'x');
  const size_t unwritten = heap_bytes();
  table.measure("write 4 KiB", files, [&](uint64_t i) {
    const auto reading = section();
    must(mounted.fs().write(inos[i], 0, std::as_bytes(std::span(data))));
  });
  const size_t written = heap_bytes() - unwritten;
  table.measure("rename", files, [&](uint64_t i) {
    const auto reading = section();
    must(mounted.fs().rename(root, name_of(i), root, name_of(i) + "r", 0));
  });
  table.measure("unlink, forget", files, [&](uint64_t i) {
    const auto reading = section();
    must(mounted.fs().unlink(root, name_of(i) + "r"));
    mounted.lookups().drop(inos[i], 1);
    mounted.fs().forget(inos[i]);
  });
  const auto each = [&](size_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(files);
  };
  fmt::print(
      "{} files: bytes of heap each: created and known {:.0f}, looked up {:.0f}, written {:.0f}\n",
      files, each(created), each(looked_up), each(written));
}

}  // namespace
}  // namespace pmemd

int main(int argc, char** argv) {
  std::vector<uint64_t> sizes;
  for (int i = 1; i < argc; ++i) sizes.push_back(std::strtoull(argv[i], nullptr, 10));
  if (sizes.empty()) sizes = {1000, 10'000, 100'000};
  pmemd::Table table;
  for (const uint64_t files : sizes) pmemd::run(files, table);
  table.print();
}
