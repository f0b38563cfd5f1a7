// Runs each of core's operations many times, for instructions_test.cc, which has it counted by
// callgrind. Prints a line each: "<name> <times> <allocations>".
#include <fmt/format.h>
#include <valgrind/callgrind.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/memory.h"
#include "core/pagemap/pagemap_registry.h"
#include "core/percpu/percpu_ref.h"
#include "core/range/range_set.h"
#include "core/references/lease_table.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace {

uint64_t allocations = 0;  // of C++; SQLite's are its own

void* count_allocation(size_t bytes) {
  ++allocations;
  return std::malloc(bytes);
}

}  // namespace

namespace pmemd {
namespace {

constexpr uint64_t kTimes = 512;

void must(bool holds) {
  if (!holds) std::abort();
}

void measure(const std::string& name, const std::function<void(uint64_t)>& operation) {
  for (uint64_t i = 0; i < kTimes; ++i) operation(i);  // warm
  const uint64_t before = allocations;
  CALLGRIND_ZERO_STATS;
  for (uint64_t i = 0; i < kTimes; ++i) operation(kTimes + i);
  CALLGRIND_DUMP_STATS_AT(name.c_str());
  fmt::print("{} {} {}\n", name, kTimes, allocations - before);
}

void references() {
  PercpuRef ref;
  ref.reinit();
  measure("tryget_live_put", [&](uint64_t) { (void)ref.tryget_live(); });
  LeaseTable leases(ref);
  const auto range = [](uint64_t i) { return FileRange::sized(i % kTimes * 8192, 4096); };
  for (uint64_t i = 0; i < kTimes; ++i) must(leases.lend(1, range(i)));
  measure("lend_again", [&](uint64_t i) { must(leases.lend(1, range(i))); });
  measure("give_back_lend", [&](uint64_t i) {
    leases.give_back(1, range(i));
    must(leases.lend(1, range(i)));
  });
  leases.give_back_all();
  ref.kill();
}

void registry() {
  PagemapRegistry registry;
  std::vector<std::unique_ptr<DevPagemap>> maps;
  for (uint64_t i = 0; i < 1024; ++i) {  // every other subsection
    const auto range = PhysRange::sized(i * 2 * kSubsectionSize, kSubsectionSize);
    maps.push_back(std::make_unique<DevPagemap>("m", MemoryType::kGeneric, range));
    must(registry.memremap_pages(*maps.back()));
  }
  measure("get_dev_pagemap", [&](uint64_t i) {
    const uint64_t address = i * 617 % maps.size() * 2 * kSubsectionSize;
    must(static_cast<bool>(registry.get_dev_pagemap(Pfn{address / kPageSize})));
  });
  for (const auto& map : maps) must(registry.memunmap_pages(*map, Deadline::max()));
}

void range_sets() {
  RangeSet<FileSpace> set;
  for (uint64_t i = 0; i < 1024; ++i) set.insert(FileRange::sized(i * 8192, 4096));
  measure("range_set_insert_erase", [&](uint64_t i) {
    const auto range = FileRange::sized(i * 617 % 1024 * 8192 + 4096, 4096);
    set.insert(range);
    set.erase(range);
  });
}

void file_system() {
  MountedFs fs;
  const uint64_t root = fs.root();
  const auto name = [](uint64_t i) { return fmt::format("file{:06}", i); };
  const uint64_t ino = must(fs->mknod(root, "data", S_IFREG | 0644, 0, {})).ino;
  const std::string bytes(kMiB, 'x');
  const auto page = [&bytes](size_t size) { return std::as_bytes(std::span(bytes.data(), size)); };
  must(fs->write(ino, 0, page(bytes.size())));
  measure("fs_getattr", [&](uint64_t) { must(fs->getattr(ino)); });
  measure("fs_read_page",
          [&](uint64_t i) { must(fs->read(ino, FileRange::sized(i % 256 * 4096, 4096))); });
  measure("fs_read_1m", [&](uint64_t) { must(fs->read(ino, {0, kMiB})); });
  measure("fs_overwrite_page",
          [&](uint64_t i) { must(fs->write(ino, i % 256 * 4096, page(4096))); });
  measure("fs_create", [&](uint64_t i) { must(fs->mknod(root, name(i), S_IFREG | 0644, 0, {})); });
  measure("fs_lookup", [&](uint64_t i) { must(fs->lookup(root, name(i % kTimes))); });
  // 64 names each.
  const uint64_t dir = must(fs->mkdir(root, "dir", 0755, {})).ino;
  for (uint64_t i = 0; i < 64; ++i) must(fs->mknod(dir, name(i), S_IFREG | 0644, 0, {}));
  measure("fs_readdir_64",
          [&](uint64_t) { must(fs->readdir(dir, 0, [](const DirEntry&) { return true; })); });
  measure("fs_readdirplus_64", [&](uint64_t) {
    must(fs->readdirplus(dir, 0, [](const DirEntry&, const Attr&) { return true; }));
  });
}

}  // namespace
}  // namespace pmemd

int main() {
  pmemd::set_allocate_hook(count_allocation);
  pmemd::references();
  pmemd::registry();
  pmemd::range_sets();
  pmemd::file_system();
}
