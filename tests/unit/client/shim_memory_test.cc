// The shim's table against the kernel's: after each call the mappings of our files in
// /proc/self/maps must be those in the table, and each of them registered once.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/shim/memory.h"
#include "core/base/unique_fd.h"

namespace pmemd::test {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kFilePages = 64;

struct Part {
  uint64_t file, start, end, offset;
  bool shared;
  bool operator==(const Part&) const = default;
};

std::string to_text(const std::vector<Part>& parts) {
  std::string text;
  for (const Part& part : parts) {
    text += fmt::format("{:x}-{:x} file {} offset {:x} {}\n", part.start, part.end, part.file,
                        part.offset, part.shared ? "shared" : "private");
  }
  return text;
}

// Where one ends, the next begins: one.
void add_part(std::vector<Part>& parts, const Part& part) {
  if (!parts.empty()) {
    Part& last = parts.back();
    if (last.end == part.start && last.file == part.file && last.shared == part.shared &&
        last.offset + (last.end - last.start) == part.offset) {
      last.end = part.end;
      return;
    }
  }
  parts.push_back(part);
}

// --- what stands below the shim

struct Registered {
  uint32_t file;
  keeper_range range;
};

struct Below {
  std::array<UniqueFd, 2> files;
  std::map<uint64_t, uint64_t> file_of_inode;
  std::map<uint64_t, Registered> registered;
  std::array<int, 3> attachments = {};
  uint64_t last_id = 0;
  uint32_t info = 0;
  int flags_seen = 0;
  int refuse_attach = 0;
  // While a call is under way: before the kernel has done it, and after.
  std::function<void()> before, after;
  int refuse_call = 0;  // once: it fails with this, and does nothing
};
Below* below = nullptr;

uint32_t file_of(int fd) {
  for (uint32_t i = 0; i < below->files.size(); ++i) {
    if (below->files[i].get() == fd) return i + 1;
  }
  return 0;
}

int attach_again(KeeperFile file, const keeper_range* range, uint64_t* id) {
  if (below->refuse_attach != 0) return -below->refuse_attach;
  ++below->attachments[file.slot];
  *id = 0;
  if (range->address == 0) return 0;
  *id = ++below->last_id;
  below->registered[*id] = {file.slot, *range};
  return 0;
}

int attach(int fd, const keeper_range* range, KeeperFile* file, uint64_t* id) {
  *file = {file_of(fd), 1};
  return attach_again(*file, range, id);
}

void detach(KeeperFile file, KeeperKind /*kind*/, uint64_t id) {
  EXPECT_GT(below->attachments[file.slot]--, 0);
  EXPECT_EQ(below->registered.erase(id), id == 0 ? 0U : 1U);
}

bool probe(int fd, uint32_t* info) {
  *info = below->info;
  return file_of(fd) != 0;
}

void run(void (*work)()) { work(); }

template <typename... Arguments>
long call(long number, Arguments... arguments) {
  const int error = std::exchange(below->refuse_call, 0);
  if (const auto what = std::exchange(below->before, nullptr)) what();
  if (error != 0) {
    errno = error;
    return -1;
  }
  const long result = syscall(number, arguments...);
  if (const auto what = std::exchange(below->after, nullptr)) what();
  return result;
}

void* raw_mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  below->flags_seen = flags;
  return reinterpret_cast<void*>(call(SYS_mmap, address, length, protection, flags, fd, offset));
}
int raw_munmap(void* address, size_t length) {
  return static_cast<int>(call(SYS_munmap, address, length));
}
void* raw_mremap(void* address, size_t length, size_t new_length, int flags, void* target) {
  return reinterpret_cast<void*>(call(SYS_mremap, address, length, new_length, flags, target));
}

// --- the two views

std::vector<Part> kernel_view() {
  std::vector<Part> parts;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::string range, permissions, offset, device, inode;
    words >> range >> permissions >> offset >> device >> inode;
    const auto found = below->file_of_inode.find(std::stoull(inode));
    if (found == below->file_of_inode.end() || line.find("memfd:shim-test") == std::string::npos) {
      continue;
    }
    const size_t dash = range.find('-');
    add_part(parts, {found->second, std::stoull(range.substr(0, dash), nullptr, 16),
                     std::stoull(range.substr(dash + 1), nullptr, 16),
                     std::stoull(offset, nullptr, 16), permissions[3] == 's'});
  }
  return parts;
}

std::vector<Part> our_view() {
  std::vector<Part> parts;
  for (size_t i = 0; i < mapping_table_count(); ++i) {
    const mapping each = mapping_table_get(i);
    add_part(parts, {each.file.slot, each.start, each.end, each.offset, each.told != 0});
  }
  return parts;
}

// Each entry has its own attachment, and if it is shared its own registration, of just its range.
void expect_registered_once() {
  std::array<int, 3> attachments = {};
  size_t registrations = 0;
  for (size_t i = 0; i < mapping_table_count(); ++i) {
    const mapping each = mapping_table_get(i);
    EXPECT_EQ(each.attached, 1U);
    ++attachments[each.file.slot];
    EXPECT_EQ(each.id != 0, each.told != 0);
    if (each.id == 0) continue;
    ++registrations;
    const auto found = below->registered.find(each.id);
    ASSERT_NE(found, below->registered.end());
    EXPECT_EQ(found->second.file, each.file.slot);
    EXPECT_EQ(found->second.range.address, each.start);
    EXPECT_EQ(found->second.range.length, each.end - each.start);
    EXPECT_EQ(found->second.range.offset, each.offset);
  }
  EXPECT_EQ(registrations, below->registered.size());
  EXPECT_EQ(attachments, below->attachments);
}

class ShimMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    below = &below_;
    for (UniqueFd& file : below_.files) {
      file = UniqueFd(memfd_create("shim-test", MFD_CLOEXEC));
      ASSERT_EQ(ftruncate(file.get(), kFilePages * kPage), 0);
      struct stat status = {};
      ASSERT_EQ(fstat(file.get(), &status), 0);
      below_.file_of_inode[status.st_ino] = file_of(file.get());
    }
    const shim_below calls = {raw_mmap, raw_munmap, raw_mremap,
                              probe,    attach,     {attach_again, detach, run}};
    shim_memory_start(&calls);
    arena_ = static_cast<char*>(
        raw_mmap(nullptr, kArenaPages * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  void TearDown() override {
    for (const Part& part : kernel_view()) {
      shim_munmap(reinterpret_cast<void*>(part.start), part.end - part.start);
    }
    EXPECT_EQ(mapping_table_count(), 0U);
    EXPECT_TRUE(below_.registered.empty());
    raw_munmap(arena_, kArenaPages * kPage);
  }

  void expect_true(const std::string& after) {
    EXPECT_EQ(to_text(our_view()), to_text(kernel_view())) << "after " << after;
    expect_registered_once();
  }

  // Holes are ours: nobody else's memory may come to lie where the next MAP_FIXED goes.
  void reserve_holes() const {
    for (uint64_t i = 0; i < kArenaPages; ++i) {
      raw_mmap(arena_ + i * kPage, kPage, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    }
  }
  char* page(uint64_t index) const { return arena_ + index * kPage; }
  char* map(uint64_t at, uint64_t pages, uint64_t offset, int type = MAP_SHARED, size_t file = 0) {
    return static_cast<char*>(shim_mmap(page(at), pages * kPage, PROT_READ | PROT_WRITE,
                                        type | MAP_FIXED, below_.files[file].get(),
                                        static_cast<off_t>(offset * kPage)));
  }

  static constexpr uint64_t kArenaPages = 64;
  Below below_;
  char* arena_ = nullptr;
};

TEST_F(ShimMemory, UnmappingTheMiddleLeavesTwo) {
  map(0, 10, 5);
  EXPECT_EQ(mapping_table_count(), 1U);
  EXPECT_EQ(shim_munmap(page(3), 4 * kPage), 0);
  EXPECT_EQ(mapping_table_count(), 2U);
  expect_true("munmap");
  reserve_holes();
}

TEST_F(ShimMemory, LengthsAreRoundedUpToPages) {
  shim_mmap(page(0), 5 * kPage + 1, PROT_READ, MAP_SHARED | MAP_FIXED, below_.files[0].get(), 0);
  expect_true("mmap of a part of a page");
  EXPECT_EQ(shim_munmap(page(2), 1), 0);
  expect_true("munmap of a part of a page");
  reserve_holes();
}

TEST_F(ShimMemory, WhatIsMappedOverIsGone) {
  map(0, 10, 0);
  shim_mmap(page(2), 2 * kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  expect_true("anonymous memory over it");
  map(6, 8, 20, MAP_SHARED, 1);
  expect_true("another file over it");
}

TEST_F(ShimMemory, GrowthIsOneMappingAsInTheKernel) {
  map(0, 1, 0);
  for (uint64_t pages = 1; pages < 30; ++pages) {
    raw_munmap(page(pages), kPage);
    EXPECT_EQ(shim_mremap(page(0), pages * kPage, (pages + 1) * kPage, 0, nullptr), page(0));
  }
  EXPECT_EQ(mapping_table_count(), 1U);
  expect_true("growing");
  map(30, 2, 30);
  EXPECT_EQ(mapping_table_count(), 1U);
  expect_true("mapping what comes next");
}

TEST_F(ShimMemory, MremapMovesShrinksAndCopies) {
  map(0, 8, 3);
  EXPECT_EQ(shim_mremap(page(0), 8 * kPage, 5 * kPage, 0, nullptr), page(0));
  reserve_holes();
  expect_true("shrinking");
  EXPECT_EQ(shim_mremap(page(1), 2 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, page(20)),
            page(20));
  reserve_holes();
  expect_true("moving its middle, longer");
  EXPECT_EQ(shim_mremap(page(0), 0, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, page(40)), page(40));
  expect_true("a second mapping of the same");
}

TEST_F(ShimMemory, AFailedCallChangesNothing) {
  map(0, 4, 0);
  errno = 0;
  EXPECT_EQ(shim_munmap(page(0) + 1, kPage), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(
      shim_mmap(page(1) + 1, kPage, PROT_READ, MAP_SHARED | MAP_FIXED, below_.files[0].get(), 0),
      MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(shim_mremap(page(0), 4 * kPage, 0, 0, nullptr), MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
  expect_true("calls that failed");
}

TEST_F(ShimMemory, SucceedsWithoutBeingAbleToRegister) {
  below_.refuse_attach = EPERM;
  errno = ENOTEMPTY;
  EXPECT_EQ(map(0, 4, 0), page(0));
  EXPECT_EQ(errno, ENOTEMPTY);
  EXPECT_EQ(mapping_table_count(), 0U);
  below_.refuse_attach = 0;
  map(8, 8, 0);
  below_.refuse_attach = EIO;
  EXPECT_EQ(shim_munmap(page(10), kPage), 0);  // what is left of it can't be told of
  EXPECT_EQ(mapping_table_count(), 0U);
  expect_registered_once();
  reserve_holes();
  raw_mmap(page(0), kArenaPages * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

TEST_F(ShimMemory, MapSyncIsAcceptedWhereStoresNeedNoMsync) {
  const int asked = MAP_SHARED_VALIDATE | MAP_SYNC;
  EXPECT_EQ(map(0, 1, 0, asked), MAP_FAILED);
  EXPECT_EQ(errno, EOPNOTSUPP);
  below_.info = PMEMD_INFO_SYNC;
  EXPECT_EQ(map(0, 1, 0, asked), page(0));
  EXPECT_EQ(below_.flags_seen, MAP_SHARED_VALIDATE | MAP_FIXED);
  // Not ours: the kernel's to refuse.
  const UniqueFd other(memfd_create("other", MFD_CLOEXEC));
  EXPECT_EQ(shim_mmap(nullptr, kPage, PROT_READ, asked, other.get(), 0), MAP_FAILED);
  EXPECT_EQ(errno, EOPNOTSUPP);
}

TEST_F(ShimMemory, OthersMemoryIsNoneOfItsBusiness) {
  void* const mapped = shim_mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(mapped, MAP_FAILED);
  void* const larger = shim_mremap(mapped, kPage, 3 * kPage, MREMAP_MAYMOVE, nullptr);
  EXPECT_NE(larger, MAP_FAILED);
  EXPECT_EQ(mapping_table_count(), 0U);
  EXPECT_EQ(shim_munmap(larger, 3 * kPage), 0);
}

TEST_F(ShimMemory, AChildBeginsWithNone) {
  map(0, 4, 0);
  const pid_t child = fork();
  if (child == 0) {
    mappings_forget();
    if (mapping_table_count() != 0) _exit(1);
    below_.registered.clear();
    below_.attachments = {};
    map(8, 4, 0);
    _exit(mapping_table_count() == 1 && shim_munmap(page(0), kPage) == 0 ? 0 : 2);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  expect_true("a fork");
}

// --- while a call waits in the kernel

// What a program can do meanwhile. Called where a call waits.
class ShimMemoryMeanwhile : public ShimMemory {
 protected:
  // In another thread, which would hang if anything were held.
  void expect_all_goes_on() {
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    for (const int number : {SIGTERM, SIGALRM, SIGBUS}) {
      ASSERT_EQ(sigismember(&blocked, number), 0) << number << " is blocked";
    }
    std::thread([this] {
      map(40, 4, 10, MAP_SHARED, 1);
      map(41, 1, 20, MAP_SHARED, 1);
      shim_mremap(page(42), 2 * kPage, kPage, 0, nullptr);
      shim_munmap(page(40), kPage);
    }).join();
    const pid_t child = fork();
    if (child == 0) {
      mappings_forget();
      below_.registered.clear();
      below_.attachments = {};
      map(0, 2, 0);
      _exit(mapping_table_count() == 1 ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    ++times_;
  }

  int times_ = 0;
};

TEST_F(ShimMemoryMeanwhile, NothingIsHeldAcrossTheCall) {
  const auto meanwhile = [this] { expect_all_goes_on(); };
  below_.before = meanwhile;
  map(0, 8, 0, MAP_SHARED | MAP_POPULATE);
  expect_true("mmap");
  below_.before = meanwhile;
  map(2, 2, 30);
  expect_true("mmap over it");
  below_.before = meanwhile;
  shim_mremap(page(0), 2 * kPage, 3 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, page(20));
  reserve_holes();
  expect_true("mremap");
  below_.before = meanwhile;
  shim_munmap(page(4), 2 * kPage);
  reserve_holes();
  expect_true("munmap");
  EXPECT_EQ(times_, 4);
}

// The kernel has given the addresses away before the call that freed them returns.
TEST_F(ShimMemoryMeanwhile, AnAddressThatIsFreedIsAnothersAtOnce) {
  map(0, 8, 0);
  below_.after = [this] { map(2, 2, 10, MAP_SHARED, 1); };
  EXPECT_EQ(shim_munmap(page(1), 4 * kPage), 0);
  reserve_holes();
  expect_true("munmap");
  map(0, 8, 0);
  below_.after = [this] { map(1, 4, 10, MAP_SHARED, 1); };
  EXPECT_EQ(shim_mremap(page(0), 8 * kPage, 8 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, page(20)),
            page(20));
  reserve_holes();
  expect_true("mremap");
  EXPECT_EQ(mapping_table_count(), 2U);
}

TEST_F(ShimMemoryMeanwhile, ACallThatTheKernelRefusesLeavesItAsItWas) {
  map(0, 8, 0);
  const auto meanwhile = [this] { map(30, 1, 10, MAP_SHARED, 1); };
  const auto refuse = [this, meanwhile] {
    below_.refuse_call = ENOMEM;
    below_.before = meanwhile;
  };
  refuse();
  EXPECT_EQ(shim_munmap(page(2), 2 * kPage), -1);
  EXPECT_EQ(errno, ENOMEM);
  expect_true("munmap");
  refuse();
  EXPECT_EQ(shim_mremap(page(0), 8 * kPage, 9 * kPage, MREMAP_MAYMOVE, nullptr), MAP_FAILED);
  expect_true("mremap");
  refuse();
  EXPECT_EQ(map(0, 8, 20, MAP_SHARED, 1), MAP_FAILED);
  expect_true("mmap");
  EXPECT_EQ(mapping_table_count(), 2U);
}

// The daemon may tell of a mapping that a call is about to move.
TEST_F(ShimMemoryMeanwhile, EventsFindWhatIsAboutToChange) {
  map(0, 8, 0);
  const auto finds = [this](uint64_t at) {
    mapping found;
    const auto start = reinterpret_cast<uintptr_t>(page(at));
    return mappings_find({1, 1}, start, start + kPage, &found);
  };
  below_.before = [&] { EXPECT_TRUE(finds(3)); };
  EXPECT_EQ(shim_mremap(page(0), 8 * kPage, 8 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, page(20)),
            page(20));
  reserve_holes();
  EXPECT_FALSE(finds(3));
  EXPECT_TRUE(finds(23));
  mapping found;
  const auto start = reinterpret_cast<uintptr_t>(page(20));
  EXPECT_FALSE(mappings_find({2, 1}, start, start + kPage, &found));
}

// --- random calls

class RandomCalls {
 public:
  RandomCalls(uint32_t seed, char* arena, uint64_t arena_pages, const Below& files)
      : random_(seed), arena_(arena), arena_pages_(arena_pages), files_(files) {}

  std::string one() {
    const uint64_t at = pick(arena_pages_);
    const uint64_t pages = 1 + pick(std::min<uint64_t>(12, arena_pages_ - at));
    switch (pick(7)) {
      case 0:
      case 1:
        return map(at, pages);
      case 2:
        shim_mmap(page(at), pages * kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                  0);
        return fmt::format("anonymous memory at {} of {}", at, pages);
      case 3:
        shim_munmap(page(at), pages * kPage);
        return fmt::format("munmap {} of {}", at, pages);
      default:
        return remap(at, pages);
    }
  }

 private:
  uint64_t pick(uint64_t below_this) { return random_() % below_this; }
  char* page(uint64_t index) const { return arena_ + index * kPage; }

  std::string map(uint64_t at, uint64_t pages) {
    const uint64_t file = pick(2);
    const int type = pick(4) == 0 ? MAP_PRIVATE : MAP_SHARED;
    const uint64_t offset = pick(kFilePages - pages);
    const bool same_place = pick(3) == 0;  // so that neighbours continue each other
    const auto bytes = static_cast<off_t>((same_place ? at % kFilePages : offset) * kPage);
    shim_mmap(page(at), pages * kPage, PROT_READ | PROT_WRITE, type | MAP_FIXED,
              files_.files.at(file).get(), bytes);
    return fmt::format("mmap {} of {}, type {}", at, pages, type);
  }

  std::string remap(uint64_t at, uint64_t pages) {
    const uint64_t target = pick(arena_pages_);
    const uint64_t new_pages =
        pick(2) == 0 ? pages : 1 + pick(std::min<uint64_t>(12, arena_pages_ - target));
    const uint64_t old_bytes = pick(10) == 0 ? 0 : pages * kPage;
    int flags = pick(3) == 0 ? 0 : MREMAP_MAYMOVE | MREMAP_FIXED;
    if (flags != 0 && pick(5) == 0 && old_bytes == new_pages * kPage) flags |= 4;  // DONTUNMAP
    if (target + new_pages > arena_pages_) flags = 0;
    shim_mremap(page(at), old_bytes, new_pages * kPage, flags, page(target));
    return fmt::format("mremap {} of {} to {} of {}, flags {}", at, old_bytes / kPage, target,
                       new_pages, flags);
  }

  std::minstd_rand random_;
  char* arena_;
  uint64_t arena_pages_;
  const Below& files_;
};

TEST_F(ShimMemory, RandomCallsLeaveWhatTheKernelHas) {
  for (uint32_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    RandomCalls calls(seed, arena_, kArenaPages, below_);
    for (int i = 0; i < 300 && !HasFailure(); ++i) {
      const std::string what = calls.one();
      reserve_holes();
      expect_true(fmt::format("call {}: {}", i, what));
    }
  }
}

}  // namespace
}  // namespace pmemd::test
