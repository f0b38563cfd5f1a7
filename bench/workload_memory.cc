// Through a mapping: loads and stores, warm and for the first time, and msync.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <optional>
#include <random>
#include <thread>

#include "bench/workload.h"

namespace pmemd::bench {
namespace {

// Kept from being optimized away.
volatile uint64_t sink = 0;

void load_in_order(const char* begin, uint64_t length) {
  const auto* const words = reinterpret_cast<const uint64_t*>(begin);
  uint64_t sums[8] = {};  // no chain of dependences
  for (uint64_t i = 0; i < length / sizeof(uint64_t); i += 8) {
    for (uint64_t j = 0; j < 8; ++j) sums[j] += words[i + j];
  }
  sink = std::accumulate(std::begin(sums), std::end(sums), uint64_t{0});
}

// A word of a random page each; the next address doesn't depend on what was loaded.
template <class Access>
void access_at_random(char* begin, uint64_t length, uint64_t count, uint64_t seed, Access access) {
  std::minstd_rand random(static_cast<uint32_t>(seed));
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t page = random() % (length / kPage);
    access(reinterpret_cast<volatile uint64_t*>(begin + page * kPage + random() % 512 * 8));
  }
}

// Options: size; order=seq|random; threads; file=new|same. Loads or stores, each thread in its own
// part of the file, all of it mapped before. Each run has a file of its own, unless told otherwise:
// where its pages happen to lie in memory decides a good part of the time, and is chance. ns: of a
// page (seq) or an access (random), of all threads together.
class Warm : public Workload {
 public:
  Warm(const std::string& path, const Options& options, bool stores)
      : stores_(stores),
        in_order_(options.text("order", "seq") == "seq"),
        threads_(options.number("threads", 1)),
        path_(path),
        size_(options.number("size", 64 << 20)) {
    if (options.text("file", "new") == "same") same_.emplace(path_, size_);
  }

  ~Warm() override { unlink(path_.c_str()); }

  Sample run() override {
    ++round_;
    if (same_) return measure(same_->mapped);
    unlink(path_.c_str());
    const Touched touched(path_, size_);
    return measure(touched.mapped);
  }

 private:
  static constexpr uint64_t kAccesses = 500'000;

  struct Touched {
    Touched(const std::string& path, uint64_t size) : file(path, size, false), mapped(file) {
      for (uint64_t at = 0; at < size; at += kPage) mapped.data()[at] = 'y';
    }
    const File file;
    const Mapped mapped;
  };

  Sample measure(const Mapped& mapped) const {
    // What was written last, by whomever, is still in the CPU's caches; now it's this for all.
    load_in_order(mapped.data(), size_);
    // From the first that begins to the last that ends.
    std::barrier start(static_cast<std::ptrdiff_t>(threads_));
    std::vector<Clock::time_point> begins(threads_);
    std::vector<Clock::time_point> ends(threads_);
    const uint64_t part = size_ / threads_ / kPage * kPage;
    std::vector<std::thread> threads;
    threads.reserve(threads_);
    for (uint64_t i = 0; i < threads_; ++i) {
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        begins[i] = Clock::now();
        work(mapped.data() + i * part, part, i);
        ends[i] = Clock::now();
      });
    }
    for (auto& thread : threads) thread.join();
    const double ns =
        std::chrono::duration<double, std::nano>(std::ranges::max(ends) - std::ranges::min(begins))
            .count();
    const uint64_t each = in_order_ ? part / kPage : kAccesses;
    return {{"ns", ns / static_cast<double>(each * threads_)}};
  }

  void work(char* begin, uint64_t length, uint64_t seed) const {
    if (in_order_) {
      if (stores_)
        std::memset(begin, static_cast<int>(round_ % 256), length);
      else
        load_in_order(begin, length);
    } else if (stores_) {
      access_at_random(begin, length, kAccesses, round_ * 64 + seed,
                       [&](volatile uint64_t* word) { *word = round_; });
    } else {
      access_at_random(begin, length, kAccesses, round_ * 64 + seed,
                       [](volatile uint64_t* word) { (void)*word; });
    }
  }

  const bool stores_;
  const bool in_order_;
  const uint64_t threads_;
  const std::string path_;
  const uint64_t size_;
  std::optional<Touched> same_;
  uint64_t round_ = 0;
};

// Options: size; access=read|write; order=seq|random; advice=none|random; before=nothing|willneed|
// load; state=cold|fresh|there. The first touch of pages that are in the file but not in memory
// (cold), or that the file doesn't have yet (fresh: all that a tmpfs can show). before=load: they
// are in memory, for others; this mapping still has none; or a command that brings them in. ns: of
// a page.
class FirstTouch : public Workload {
 public:
  FirstTouch(const std::string& path, const Options& options)
      : path_(path),
        size_(options.number("size", 64 << 20)),
        writes_(options.text("access", "read") == "write"),
        state_(options.text("state", "cold")),
        random_advice_(options.text("advice", "none") == "random"),
        before_(options.text("before", "nothing")),
        order_(size_ / kPage) {
    std::iota(order_.begin(), order_.end(), uint64_t{0});
    if (options.text("order", "seq") == "random") {
      std::ranges::shuffle(order_, std::minstd_rand(1));
      // Few enough that a request for each page is bearable.
      order_.resize(std::min<size_t>(order_.size(), options.number("pages", 16384)));
    }
    if (state_ != "fresh") const File written(path_, size_, false);
  }

  Sample run() override {
    const File file(path_, size_, state_ == "fresh");
    if (state_ == "cold") file.make_cold();
    const Mapped mapped(file);
    Sample sample;
    if (before_ == "willneed") {
      const double ns = time_of([&] { bring_in(mapped); });
      sample["prefault_ns"] = ns / static_cast<double>(size_ / kPage);
    } else if (before_ == "load") {
      const Mapped other(file);
      for (uint64_t at = 0; at < size_; at += kPage) sink = sink + other.data()[at];
    } else if (before_ != "nothing") {
      const double ns = time_of([&] { must(std::system(before_.c_str()) == 0, before_); });
      sample["prefault_ns"] = ns / static_cast<double>(size_ / kPage);
    }
    if (random_advice_) must(madvise(mapped.data(), size_, MADV_RANDOM) == 0, "MADV_RANDOM");
    const double ns = time_of([&] {
      for (const uint64_t page : order_) {
        volatile char* const at = mapped.data() + page * kPage;
        if (writes_)
          *at = 'z';
        else
          (void)*at;
      }
    });
    sample["ns"] = ns / static_cast<double>(order_.size());
    return sample;
  }

 private:
  // In parts, since a call brings in no more than the readahead's size (mm/readahead.c
  // force_page_cache_ra()), and only begins: whoever asks wants to know when they are there.
  void bring_in(const Mapped& mapped) const {
    for (uint64_t at = 0; at < size_; at += kWillneed) {
      must(madvise(mapped.data() + at, std::min(kWillneed, size_ - at), MADV_WILLNEED) == 0,
           "MADV_WILLNEED");
    }
    const auto deadline = Clock::now() + std::chrono::seconds(10);
    while (mapped.resident_pages() < size_ / kPage) {
      errno = ETIME;
      must(Clock::now() < deadline, "MADV_WILLNEED brings in not all");
    }
  }

  static constexpr uint64_t kWillneed = 128 << 10;

  const std::string path_;
  const uint64_t size_;
  const bool writes_;
  const std::string state_;
  const bool random_advice_;
  const std::string before_;
  std::vector<uint64_t> order_;
};

// Options: size; dirty: bytes. msync of so many, stored before. ns: of the call; stored_ns: with
// the stores, which a small dirty limit makes wait.
class Msync : public Workload {
 public:
  Msync(const std::string& path, const Options& options)
      : dirty_(options.number("dirty", kPage)),
        file_(path, std::max(options.number("size", 64 << 20), dirty_), false),
        mapped_(file_) {
    must(fsync(file_.fd()) == 0, "fsync");
  }

  Sample run() override {
    // One page is quick: many, one after the other.
    const uint64_t calls = dirty_ >= 1 << 20 ? 1 : 256;
    double ns = 0;
    double stores_ns = 0;
    for (uint64_t i = 0; i < calls; ++i) {
      char* const at = mapped_.data() + (i * dirty_) % (mapped_.size() - dirty_ + 1);
      stores_ns += time_of([&] { std::memset(at, static_cast<int>(++round_ % 256), dirty_); });
      ns += time_of([&] { must(msync(at, dirty_, MS_SYNC) == 0, "msync"); });
    }
    const auto count = static_cast<double>(calls);
    return {{"ns", ns / count}, {"stored_ns", (ns + stores_ns) / count}};
  }

 private:
  const uint64_t dirty_;
  const File file_;
  const Mapped mapped_;
  uint64_t round_ = 0;
};

}  // namespace

void add_memory_workloads(std::map<std::string, Maker>& makers) {
  makers["load"] = [](const std::string& path, const Options& options) {
    return std::unique_ptr<Workload>(std::make_unique<Warm>(path, options, false));
  };
  makers["store"] = [](const std::string& path, const Options& options) {
    return std::unique_ptr<Workload>(std::make_unique<Warm>(path, options, true));
  };
  makers["touch"] = [](const std::string& path, const Options& options) {
    return std::unique_ptr<Workload>(std::make_unique<FirstTouch>(path, options));
  };
  makers["msync"] = [](const std::string& path, const Options& options) {
    return std::unique_ptr<Workload>(std::make_unique<Msync>(path, options));
  };
}

}  // namespace pmemd::bench
