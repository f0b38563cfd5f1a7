// What a reference, a lookup and a lease cost, each beside something that everybody knows.
//
// Ratios first: they hold where nanoseconds don't. Each benchmark runs several times, in turns with
// the others, and its median counts, in CPU time, so that other programs matter little. Only
// "throughput" is by the clock: on two CPUs that have nothing else to do, 2 is ideal.
//
// core_bench [--benchmark_filter=REGEX …]
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "core/pagemap/lease_table.h"
#include "core/pagemap/pagemap_registry.h"
#include "core/pagemap/percpu_ref.h"

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

void print_memory() {
  fmt::print("\nmemory, bytes each\n");
  const auto print = [](std::string_view what, double bytes) {
    fmt::print("  {:<62}{:>8.0f}\n", what, bytes);
  };
  const auto lend = [](size_t inodes) {
    return heap_bytes_each(kManyLeases,
                           [&] { return std::make_unique<Lent>(kManyLeases, inodes); });
  };
  print("lease, of 100,000 in one inode", lend(1));
  print("lease, of 100,000 in 1,000 inodes", lend(1000));
  print("registered pagemap, of 10,000 (itself among it)",
        heap_bytes_each(kManyRanges, [] { return std::make_unique<Registered>(kManyRanges); }));
  print("PercpuRef, itself", sizeof(PercpuRef));
  print("PercpuRef, for each thread that counts", sizeof(CountCell));
}

// --- the report ---------------------------------------------------------------------------------

class Medians : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration || run.error_occurred) continue;
      const std::string name = run.run_name.str();
      times_[name].cpu.push_back(run.GetAdjustedCPUTime());
      times_[name].real.push_back(run.GetAdjustedRealTime());
    }
  }

  // Of one operation, in one thread. 0: it was left out by --benchmark_filter.
  double cpu_ns(const std::string& name) const {
    const auto found = times_.find(name);
    return found == times_.end() ? 0 : median(found->second.cpu);
  }
  // From one operation to the next, of all threads.
  double real_ns(const std::string& name) const {
    const auto found = times_.find(name);
    return found == times_.end() ? 0 : median(found->second.real);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& [name, times] : times_) names.push_back(name);
    return names;
  }

 private:
  struct Times {
    std::vector<double> cpu;
    std::vector<double> real;
  };
  static double median(std::vector<double> times) {
    std::ranges::sort(times);
    return times[times.size() / 2];
  }
  std::map<std::string, Times> times_;
};

void print_ratio(std::string_view what, double dividend, double divisor) {
  if (dividend > 0 && divisor > 0) fmt::print("  {:<62}{:>8.2f}\n", what, dividend / divisor);
}

void print_ratios(const Medians& medians) {
  const auto one = [](std::string name) { return name + "/real_time/threads:1"; };
  const auto two = [](std::string name) { return name + "/real_time/threads:2"; };
  const std::string get_put = "tryget_live_put";
  const std::string atomic = "atomic_increment_decrement";
  const auto print_cpu = [&](std::string_view what, const std::string& a, const std::string& b) {
    print_ratio(what, medians.cpu_ns(a), medians.cpu_ns(b));
  };
  fmt::print("ratios\n");
  print_cpu("tryget_live + put : increment", one(get_put), "increment");
  print_cpu("tryget_live + put : two increments in a thread's own cell", one(get_put),
            "increment_own_cell_twice");
  print_cpu("tryget_live + put : atomic increment + decrement", one(get_put), one(atomic));
  print_cpu("tryget_live + put, beside a second thread : alone", two(get_put), one(get_put));
  print_cpu("atomic pair, beside a second thread : alone", two(atomic), one(atomic));
  print_ratio("throughput of tryget_live + put, two threads : one", medians.real_ns(one(get_put)),
              medians.real_ns(two(get_put)));
  print_ratio("throughput of the atomic pair, two threads : one", medians.real_ns(one(atomic)),
              medians.real_ns(two(atomic)));
  print_cpu("get_dev_pagemap of 10,000 : of 1", "get_dev_pagemap/10000", "get_dev_pagemap/1");
  print_cpu("give back + lend, of 100,000 leases : of 1", "give_back_and_lend/100000/1",
            "give_back_and_lend/1/1");
}

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

  pmemd::Medians medians;
  benchmark::RunSpecifiedBenchmarks(&medians);
  pmemd::print_ratios(medians);
  fmt::print("\nmedians of CPU time, ns\n");
  for (const auto& name : medians.names()) {
    fmt::print("  {:<62}{:>8.2f}\n", name, medians.cpu_ns(name));
  }
  pmemd::print_memory();
}
