// What a reference, a lookup and a lease cost, each beside something that everybody knows; and what
// leases take of memory. bench/sections/core.py and size.py show it.
//
// Each benchmark runs several times, in turns with the others. Prints JSON: by benchmark, the CPU
// time of an operation in one thread (cpu_ns) and the time from one operation to the next of all
// threads (real_ns), one of each a run; and the heap's bytes.
//
// core_bench [--benchmark_repetitions=N …]
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/units.h"
#include "core/pagemap/pagemap_registry.h"
#include "core/percpu/percpu_ref.h"
#include "core/references/lease_table.h"

namespace pmemd {
namespace {

constexpr size_t kManyRanges = 10'000;
constexpr size_t kManyLeases = 100'000;

void must(bool holds) {
  if (!holds) std::abort();
}

// --- references ---------------------------------------------------------------------------------

void increment(benchmark::State& state) {
  uint64_t count = 0;
  for (auto _ : state) {
    ++count;
    benchmark::DoNotOptimize(count);
    benchmark::ClobberMemory();  // from and to memory each time
  }
}
BENCHMARK(increment);

// The floor for any count of a thread's own: found by thread and column, one for gets, one for
// puts, and nothing that makes a kill possible. By two: the low bit says that one is inside.
void increment_own_cell_twice(benchmark::State& state) {
  const auto column = ThreadCells::take_column();
  for (auto _ : state) {
    auto& gets = ThreadCells::mine(column)->gets;
    gets.store(gets.load(std::memory_order_relaxed) + 2, std::memory_order_relaxed);
    benchmark::ClobberMemory();
    auto& puts = ThreadCells::mine(column)->puts;
    puts.store(puts.load(std::memory_order_relaxed) + 2, std::memory_order_relaxed);
    benchmark::ClobberMemory();
  }
  ThreadCells::give_back_column(column);
}
BENCHMARK(increment_own_cell_twice);

std::atomic<uint64_t> shared_count = 0;

void atomic_increment_decrement(benchmark::State& state) {
  for (auto _ : state) {
    shared_count.fetch_add(1);
    benchmark::ClobberMemory();
    shared_count.fetch_sub(1);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(atomic_increment_decrement)->ThreadRange(1, 2)->UseRealTime();

PercpuRef& live_ref() {
  static auto* const ref = [] {
    auto* const made = new PercpuRef;
    made->reinit();
    return made;
  }();
  return *ref;
}

void tryget_live_put(benchmark::State& state) {
  PercpuRef& ref = live_ref();
  for (auto _ : state) {
    auto held = ref.tryget_live();
    if (!held) std::abort();
    benchmark::ClobberMemory();
  }
}
BENCHMARK(tryget_live_put)->ThreadRange(1, 2)->UseRealTime();

void kill_resurrect(benchmark::State& state) {
  PercpuRef ref;
  ref.reinit();
  auto held = ref.tryget_live();
  for (auto _ : state) {
    ref.kill();
    ref.resurrect();
  }
  held.reset();
  ref.kill();
}
BENCHMARK(kill_resurrect);

// --- the registry -------------------------------------------------------------------------------

// Every other subsection is a pagemap of its own.
class Registered {
 public:
  explicit Registered(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const uint64_t begin = i * 2 * kSubsectionSize;
      maps_.push_back(std::make_unique<DevPagemap>("m", MemoryType::kGeneric,
                                                   PhysRange{begin, begin + kSubsectionSize}));
      must(registry.memremap_pages(*maps_.back()).has_value());
    }
  }
  ~Registered() {
    for (auto& map : maps_) must(registry.memunmap_pages(*map, Deadline::max()).has_value());
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;

  std::vector<Pfn> random_pfns() const {
    std::mt19937_64 random(1);
    std::vector<Pfn> pfns(4096);
    for (Pfn& pfn : pfns) {
      pfn = {(random() % maps_.size() * 2 * kSubsectionSize + random() % kSubsectionSize) /
             kPageSize};
    }
    return pfns;
  }

  PagemapRegistry registry;

 private:
  std::vector<std::unique_ptr<DevPagemap>> maps_;
};

void get_dev_pagemap(benchmark::State& state) {
  Registered all(static_cast<size_t>(state.range(0)));
  const auto pfns = all.random_pfns();
  size_t i = 0;
  for (auto _ : state) {
    auto map = all.registry.get_dev_pagemap(pfns[i++ % pfns.size()]);
    if (!map) std::abort();
    benchmark::ClobberMemory();
  }
}
BENCHMARK(get_dev_pagemap)->Arg(1)->Arg(kManyRanges);

// The same without a registry of its own kind: a map of ranges and a lock, and a shared count.
void locked_map(benchmark::State& state) {
  static std::mutex mutex;
  static std::map<uint64_t, std::shared_ptr<int>> by_end;
  const auto count = static_cast<size_t>(state.range(0));
  if (state.thread_index() == 0) {
    by_end.clear();
    for (size_t i = 0; i < count; ++i) {
      by_end[(i * 2 + 1) * kSubsectionSize] = std::make_shared<int>();
    }
  }
  std::minstd_rand random(1);
  for (auto _ : state) {
    const uint64_t address = random() % count * 2 * kSubsectionSize;
    std::shared_ptr<int> held;
    {
      const std::lock_guard lock(mutex);
      held = by_end.upper_bound(address)->second;
    }
    benchmark::DoNotOptimize(held);
  }
}
BENCHMARK(locked_map)->Arg(1)->Arg(kManyRanges);

void get_dev_pagemap_cached(benchmark::State& state) {
  Registered all(static_cast<size_t>(state.range(0)));
  auto map = all.registry.get_dev_pagemap(Pfn{0});
  for (auto _ : state) {
    map = all.registry.get_dev_pagemap(Pfn{1}, std::move(map));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(get_dev_pagemap_cached)->Arg(kManyRanges);

// --- leases -------------------------------------------------------------------------------------

// Leases of one page, none beside another: each is a range of its own.
class Lent {
 public:
  Lent(size_t count, size_t inodes) : inodes_(inodes) {
    ref_.reinit();
    table.emplace(ref_);
    for (size_t i = 0; i < count; ++i) must(table->lend(ino_of(i), range_of(i)));
  }
  ~Lent() {
    table->give_back_all();
    ref_.kill();
  }
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;

  uint64_t ino_of(size_t i) const { return 1 + i % inodes_; }
  FileRange range_of(size_t i) const {
    const uint64_t begin = i / inodes_ * 2 * kPageSize;
    return {begin, begin + kPageSize};
  }

  std::optional<LeaseTable> table;

 private:
  const size_t inodes_;
  PercpuRef ref_;
};

// Arguments: leases, inodes that share them.
void lend_again(benchmark::State& state) {
  const auto count = static_cast<size_t>(state.range(0));
  Lent lent(count, static_cast<size_t>(state.range(1)));
  std::minstd_rand random(1);
  for (auto _ : state) {
    const size_t i = random() % count;
    must(lent.table->lend(lent.ino_of(i), lent.range_of(i)));
  }
}
BENCHMARK(lend_again)->Args({1, 1})->Args({kManyLeases, 1})->Args({kManyLeases, 1000});

void give_back_and_lend(benchmark::State& state) {
  const auto count = static_cast<size_t>(state.range(0));
  Lent lent(count, static_cast<size_t>(state.range(1)));
  std::minstd_rand random(1);
  for (auto _ : state) {
    const size_t i = random() % count;
    lent.table->give_back(lent.ino_of(i), lent.range_of(i));
    must(lent.table->lend(lent.ino_of(i), lent.range_of(i)));
  }
}
BENCHMARK(give_back_and_lend)->Args({1, 1})->Args({kManyLeases, 1})->Args({kManyLeases, 1000});

// --- memory -------------------------------------------------------------------------------------

size_t heap_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// What make() leaves allocated, of each of n.
template <class Make>
double heap_bytes_each(size_t n, Make make) {
  const size_t before = heap_bytes();
  const auto made = make();
  return static_cast<double>(heap_bytes() - before) / static_cast<double>(n);
}

// A region of 1 TiB that is lent in parts of this size, in random order, until all of it is.
struct Lending {
  double most_bytes = 0;  // on the way: about half of the parts, hardly any beside another
  double all_bytes = 0;
};
Lending lend_a_tebibyte(uint64_t part_bytes) {
  std::vector<uint64_t> order(kTiB / part_bytes);
  std::iota(order.begin(), order.end(), uint64_t{0});
  std::ranges::shuffle(order, std::mt19937_64(1));
  const size_t before = heap_bytes();
  Lent lent(0, 1);
  Lending lending;
  for (size_t i = 0; i < order.size(); ++i) {
    must(lent.table->lend(1, FileRange::sized(order[i] * part_bytes, part_bytes)));
    if (i % 4096 != 0) continue;
    lending.most_bytes = std::max(lending.most_bytes, static_cast<double>(heap_bytes() - before));
  }
  lending.all_bytes = static_cast<double>(heap_bytes() - before);
  return lending;
}

std::map<std::string, double> measure_memory() {
  std::map<std::string, double> bytes;
  const auto lend = [](size_t inodes) {
    return heap_bytes_each(kManyLeases,
                           [&] { return std::make_unique<Lent>(kManyLeases, inodes); });
  };
  bytes["lease, of 10^5 in one inode"] = lend(1);
  bytes["lease, of 10^5 in 1,000 inodes"] = lend(1000);
  bytes["registered pagemap, of 10^4"] =
      heap_bytes_each(kManyRanges, [] { return std::make_unique<Registered>(kManyRanges); });
  bytes["PercpuRef"] = sizeof(PercpuRef);
  bytes["PercpuRef, for each thread that counts"] = sizeof(CountCell);
  const Lending readahead = lend_a_tebibyte(2 * kMiB);
  bytes["1 TiB lent by 2 MiB, at most"] = readahead.most_bytes;
  bytes["1 TiB lent by 2 MiB, all of it"] = readahead.all_bytes;
  return bytes;
}

// --- the report ---------------------------------------------------------------------------------

class Times : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration || run.error_occurred) continue;
      const std::string name = run.run_name.str();
      cpu_ns_[name].push_back(run.GetAdjustedCPUTime());
      real_ns_[name].push_back(run.GetAdjustedRealTime());
    }
  }

  void print() const {
    fmt::print("{{");
    print("cpu_ns", cpu_ns_);
    print("real_ns", real_ns_);
    fmt::print("\"bytes\": {{");
    const char* separator = "";
    for (const auto& [name, bytes] : measure_memory()) {
      fmt::print("{}\n  \"{}\": {:.1f}", std::exchange(separator, ","), name, bytes);
    }
    fmt::print("}}}}\n");
  }

 private:
  using Samples = std::map<std::string, std::vector<double>>;
  static void print(std::string_view title, const Samples& samples) {
    fmt::print("\"{}\": {{", title);
    const char* separator = "";
    for (const auto& [name, ns] : samples) {
      fmt::print("{}\n  \"{}\": [{:.4f}]", std::exchange(separator, ","), name,
                 fmt::join(ns, ", "));
    }
    fmt::print("}},\n");
  }
  Samples cpu_ns_;
  Samples real_ns_;
};

}  // namespace
}  // namespace pmemd

int main(int argc, char** argv) {
  std::vector<char*> args(argv, argv + argc);
  std::string repetitions = "--benchmark_repetitions=9";
  std::string time = "--benchmark_min_time=0.03";
  std::string turns = "--benchmark_enable_random_interleaving=true";
  args.insert(args.begin() + 1, {repetitions.data(), time.data(), turns.data()});
  int count = static_cast<int>(args.size());
  args.push_back(nullptr);
  benchmark::Initialize(&count, args.data());
  if (benchmark::ReportUnrecognizedArguments(count, args.data())) return 2;

  pmemd::Times times;
  benchmark::RunSpecifiedBenchmarks(&times);
  times.print();
}
