#include "core/device/private_memory.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "core/pagemap/pagemap_registry.h"
#include "tests/unit/device/memory_store.h"

namespace pmemd {
namespace {

using Origin = PrivateMemory::Origin;

constexpr uint64_t kPages = 64;
constexpr uint64_t kSize = kPages * kPageSize;
constexpr uint64_t kMetadata = kSubsectionSize;

FileRange pages(uint64_t first, uint64_t count = 1) {
  return FileRange::sized(first * kPageSize, count * kPageSize);
}

// A device with a pagemap, and what its ops were called for.
class Gpu {
 public:
  explicit Gpu(PrivateMemory& memory, MemoryStore& store) : memory_(memory) {
    must(registry_.memremap_pages(pagemap_));
    memory_.attach(pagemap_, store);
  }
  ~Gpu() {
    if (!pagemap_.ref().is_dying()) pagemap_.ref().kill();
    EXPECT_TRUE(memory_.migrate_all_to_ram(deadline_after(std::chrono::seconds(30))));
    EXPECT_TRUE(registry_.memunmap_pages(pagemap_, Clock::now())) << references();
    memory_.detach();
  }

  PercpuRef& ref() { return pagemap_.ref(); }
  uint64_t references() const { return pagemap_.references(); }
  void resurrect() { registry_.resurrect(pagemap_); }
  uint64_t freed_pages() const { return freed_pages_; }
  // The physical address of a page of its data.
  PhysRange phys(uint64_t first, uint64_t count = 1) const {
    return PhysRange::sized(pagemap_.range().begin + kMetadata + first * kPageSize,
                            count * kPageSize);
  }

 private:
  static void must(const Result<void>& result) { ASSERT_TRUE(result) << result.error().describe(); }

  PrivateMemory& memory_;
  PagemapRegistry registry_;
  std::atomic<uint64_t> freed_pages_ = 0;
  DevPagemap pagemap_{
      {.name = "namespace0.0",
       .type = MemoryType::kPrivate,
       .ranges = {PhysRange::sized(4 * kGiB, 2 * kSubsectionSize)},
       .metadata_bytes = kMetadata,
       .ops = {.page_free =
                   [this](PhysRange range) {
                     freed_pages_ += range.length() / kPageSize;
                     EXPECT_GE(references(), range.length() / kPageSize)
                         << "the pagemap could be gone by now";
                     memory_.page_free(range);
                   },
               .migrate_to_ram = [this](PhysRange range) { return memory_.migrate_to_ram(range); }},
       .owner = this}};
};

class PrivateMemoryTest : public testing::Test {
 protected:
  uint64_t migrate(FileRange range) {
    auto migration = memory_.begin_migrate(range);
    EXPECT_TRUE(migration) << migration.error().describe();
    return migration ? memory_.finish_migrate(*std::move(migration)) : 0;
  }
  void store(uint64_t page, uint64_t value, Origin origin = Origin::kProgram) {
    EXPECT_TRUE(memory_.write(page * kPageSize, std::as_bytes(std::span(&value, 1)), origin));
  }
  uint64_t load(uint64_t page) {
    uint64_t value = 0;
    EXPECT_TRUE(memory_.read(FileRange::sized(page * kPageSize, sizeof(value)),
                             std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  uint64_t device_pages() const { return memory_.counts().device_pages; }

  MemoryStore ram_{kSize};
  MemoryStore device_{kSize, std::byte{0xee}};
  PrivateMemory memory_{"namespace0.0", kSize, ram_};
  std::optional<Gpu> gpu_{std::in_place, memory_, device_};
};

TEST_F(PrivateMemoryTest, APageOnTheDeviceHoldsAReferenceAndATouchBringsItBack) {
  store(1, 11);
  store(2, 22);
  EXPECT_EQ(migrate(pages(1, 2)), 2U);
  EXPECT_EQ(gpu_->references(), 2U);
  EXPECT_EQ(ram_.part(kPageSize, 1)[0], std::byte{0}) << "its system memory is free";
  EXPECT_EQ(load(2), 22U);
  EXPECT_EQ(gpu_->references(), 1U);
  EXPECT_EQ(gpu_->freed_pages(), 1U);
  store(1, 12);
  EXPECT_EQ(load(1), 12U);
  EXPECT_EQ(gpu_->references(), 0U);
  EXPECT_EQ(memory_.counts().free_pages, kPages);
}

TEST_F(PrivateMemoryTest, APartOfAPageIsWrittenIntoTheRestOfIt) {
  store(3, 33);
  migrate(pages(3));
  const std::array<std::byte, 1> byte{std::byte{9}};
  ASSERT_TRUE(memory_.write(3 * kPageSize + 100, byte, Origin::kProgram));
  EXPECT_EQ(load(3), 33U);
  EXPECT_EQ(device_pages(), 0U);
}

TEST_F(PrivateMemoryTest, UntouchedPagesMigrateAsZeros) {
  EXPECT_EQ(migrate(pages(0, kPages)), kPages);
  EXPECT_EQ(load(kPages - 1), 0U) << "what the device had there before is nobody's business";
  EXPECT_EQ(gpu_->references(), kPages - 1);
}

TEST_F(PrivateMemoryTest, MigratingAgainMovesOnlyWhatIsNotThere) {
  migrate(pages(4, 4));
  EXPECT_EQ(migrate(pages(0, 16)), 12U);
  EXPECT_EQ(migrate(pages(0, 16)), 0U);
  EXPECT_EQ(gpu_->references(), 16U);
}

TEST_F(PrivateMemoryTest, RangesThatAreNoPagesOfTheFileAreEINVAL) {
  EXPECT_EQ(memory_.begin_migrate({}).err(), EINVAL);
  EXPECT_EQ(memory_.begin_migrate({1, kPageSize}).err(), EINVAL);
  EXPECT_EQ(memory_.begin_migrate({0, kPageSize + 1}).err(), EINVAL);
  EXPECT_EQ(memory_.begin_migrate(pages(kPages - 1, 2)).err(), EINVAL);
}

TEST_F(PrivateMemoryTest, OneMigrationAtATime) {
  auto first = memory_.begin_migrate(pages(0));
  ASSERT_TRUE(first);
  EXPECT_EQ(memory_.begin_migrate(pages(9)).err(), EBUSY);
  EXPECT_EQ(memory_.finish_migrate(*std::move(first)), 1U);
  EXPECT_TRUE(memory_.begin_migrate(pages(9)));
}

TEST_F(PrivateMemoryTest, AMigrationThatIsLetGoMovesNothing) {
  {
    const auto migration = memory_.begin_migrate(pages(0, 8));
  }
  EXPECT_EQ(memory_.counts().migrating_pages, 0U);
  EXPECT_EQ(migrate(pages(20)), 1U) << "pages of the one before went along";
}

// The kernel may have a page that was read since the inval: it must not go.
TEST_F(PrivateMemoryTest, APageThatIsReadMeanwhileStays) {
  auto migration = memory_.begin_migrate(pages(0, 4));
  ASSERT_TRUE(migration);
  load(2);
  EXPECT_EQ(memory_.finish_migrate(*std::move(migration)), 3U);
  EXPECT_FALSE(memory_.device_ranges(9).at(0).contains(pages(2)));
}

TEST_F(PrivateMemoryTest, APageThatIsWrittenMeanwhileStays) {
  auto migration = memory_.begin_migrate(pages(0, 4));
  ASSERT_TRUE(migration);
  store(0, 5);
  EXPECT_EQ(memory_.finish_migrate(*std::move(migration)), 3U);
  EXPECT_EQ(load(0), 5U);
}

// The flush of the migration itself writes back: that must not stop it, nor get lost.
TEST_F(PrivateMemoryTest, AWritebackDuringAMigrationGoesAlong) {
  auto migration = memory_.begin_migrate(pages(0, 4));
  ASSERT_TRUE(migration);
  store(1, 77, Origin::kWriteback);
  EXPECT_EQ(memory_.finish_migrate(*std::move(migration)), 4U);
  EXPECT_EQ(load(1), 77U);
}

// An inval that missed a page (it was stored to at that moment): its writeback comes late.
TEST_F(PrivateMemoryTest, ALateWritebackBringsThePageBack) {
  store(1, 1);
  migrate(pages(1));
  store(1, 2, Origin::kWriteback);
  EXPECT_EQ(load(1), 2U);
  EXPECT_EQ(gpu_->references(), 0U);
}

TEST_F(PrivateMemoryTest, WithoutPagesOfTheDeviceTheRestStays) {
  EXPECT_EQ(migrate(pages(0, kPages)), kPages);
  load(0);
  EXPECT_EQ(migrate(pages(0, kPages)), 1U);
  EXPECT_EQ(memory_.counts().free_pages, 0U);
  EXPECT_EQ(memory_.counts().migrating_pages, 0U);
}

TEST_F(PrivateMemoryTest, WhatTheDeviceCannotTakeStaysWithItsBytes) {
  store(0, 10);
  for (std::atomic<int>* error :
       {&device_.write_error, &device_.allocate_error, &ram_.read_error}) {
    *error = ENOSPC;
    EXPECT_EQ(migrate(pages(0, 20)), 0U);
    *error = 0;
    EXPECT_EQ(gpu_->references(), 0U);
    EXPECT_EQ(memory_.counts().free_pages, kPages) << "allocated in vain, and lost";
    EXPECT_EQ(load(0), 10U);
  }
}

TEST_F(PrivateMemoryTest, SystemMemoryThatCannotBeFreedIsNoError) {
  store(0, 10);
  ram_.discard_error = EIO;
  EXPECT_EQ(migrate(pages(0)), 1U);
  EXPECT_EQ(load(0), 10U);
}

TEST_F(PrivateMemoryTest, WithoutMemoryATouchIsENOMEMAndThePageStays) {
  store(0, 10);
  migrate(pages(0));
  ram_.write_error = ENOMEM;
  std::array<std::byte, 8> bytes{};
  EXPECT_EQ(memory_.read({0, 8}, bytes).err(), ENOMEM);
  EXPECT_EQ(memory_.write(0, bytes, Origin::kProgram).err(), ENOMEM);
  EXPECT_EQ(memory_.migrate_to_ram(gpu_->phys(0, kPages)).err(), ENOMEM);
  ram_.write_error = 0;
  EXPECT_EQ(gpu_->references(), 1U);
  EXPECT_EQ(load(0), 10U);
}

TEST_F(PrivateMemoryTest, AMediumThatCannotBeReadIsEIO) {
  migrate(pages(0));
  device_.read_error = EIO;
  std::array<std::byte, 8> bytes{};
  EXPECT_EQ(memory_.read({0, 8}, bytes).err(), EIO);
  device_.read_error = 0;
}

TEST_F(PrivateMemoryTest, AfterKillNoPageGoes) {
  auto migration = memory_.begin_migrate(pages(0, 4));
  ASSERT_TRUE(migration);
  gpu_->ref().kill();
  EXPECT_EQ(memory_.begin_migrate(pages(9)).err(), ENXIO);
  EXPECT_EQ(memory_.finish_migrate(*std::move(migration)), 0U);
  EXPECT_EQ(memory_.counts().migrating_pages, 0U);
  EXPECT_TRUE(gpu_->ref().is_drained());
}

TEST_F(PrivateMemoryTest, RemovalBringsAllBackAndTheFileGoesOn) {
  for (uint64_t page = 0; page < kPages; ++page) store(page, page + 1);
  migrate(pages(0, kPages));
  load(5);
  gpu_->ref().kill();
  EXPECT_EQ(memory_.migrate_all_to_ram(deadline_after(std::chrono::seconds(30))), kPages - 1);
  gpu_.reset();
  EXPECT_EQ(memory_.begin_migrate(pages(0)).err(), ENXIO);
  EXPECT_TRUE(memory_.migrate_to_ram(PhysRange{0, kPageSize}));
  for (uint64_t page = 0; page < kPages; ++page) EXPECT_EQ(load(page), page + 1);
  store(7, 70);
  gpu_.emplace(memory_, device_);
  EXPECT_EQ(migrate(pages(0, kPages)), kPages);
  EXPECT_EQ(load(7), 70U);
}

TEST_F(PrivateMemoryTest, RemovalWithoutMemoryFailsAndIsTakenBack) {
  for (uint64_t page = 0; page < kPages; ++page) store(page, page + 1);
  migrate(pages(0, kPages));
  gpu_->ref().kill();
  ram_.write_error = ENOMEM;
  EXPECT_EQ(memory_.migrate_all_to_ram(deadline_after(std::chrono::seconds(30))).err(), ENOMEM);
  ram_.write_error = 0;
  gpu_->resurrect();
  EXPECT_EQ(gpu_->references(), kPages);
  EXPECT_EQ(load(8), 9U);
  EXPECT_EQ(migrate(pages(8)), 1U);
}

TEST_F(PrivateMemoryTest, RemovalHasADeadline) {
  migrate(pages(0, kPages));
  gpu_->ref().kill();
  EXPECT_EQ(memory_.migrate_all_to_ram(Clock::now()).err(), ETIMEDOUT);
  EXPECT_EQ(device_pages(), kPages);
}

TEST_F(PrivateMemoryTest, MigrateToRamOfPagesThatAreNotOutIsNoError) {
  EXPECT_TRUE(memory_.migrate_to_ram(gpu_->phys(0, kPages)));
  EXPECT_EQ(gpu_->freed_pages(), 0U);
}

TEST_F(PrivateMemoryTest, DeviceRangesAreTheFiles) {
  migrate(pages(4, 4));
  migrate(pages(0, 2));
  load(5);
  migrate(pages(20, 2));
  EXPECT_EQ(memory_.device_ranges(9),
            (std::vector{pages(0, 2), pages(4, 1), pages(6, 2), pages(20, 2)}));
  EXPECT_EQ(memory_.device_ranges(2).size(), 2U);
}

TEST_F(PrivateMemoryTest, MemoryGrowsWithRunsNotWithPages) {
  migrate(pages(0, kPages));
  EXPECT_EQ(memory_.counts().runs, 1U);
}

using PrivateMemoryDeathTest = PrivateMemoryTest;

TEST_F(PrivateMemoryDeathTest, DetachWithPagesOut) {
  migrate(pages(0));
  EXPECT_DEATH(memory_.detach(), "on_device_.empty");
}

TEST_F(PrivateMemoryDeathTest, PageFreeTwice) {
  EXPECT_DEATH(memory_.page_free(gpu_->phys(0)), "free_.overlaps");
}

// --- against the page cache

// What the kernel has between programs and us: a page is cached or not, dirty or not. A page's lock
// is held across its READ and its WRITE, and by an inval.
class PageCache {
 public:
  explicit PageCache(PrivateMemory& memory) : memory_(memory) {}

  std::optional<uint64_t> load(uint64_t page) {
    Page& cached = pages_.at(page);
    MutexLock lock(cached.mutex);
    if (!fill(page)) return std::nullopt;
    return cached.value;
  }
  bool store(uint64_t page, uint64_t value) {
    Page& cached = pages_.at(page);
    MutexLock lock(cached.mutex);
    if (!fill(page)) return false;
    cached.value = value;
    cached.is_dirty = true;
    return true;
  }
  // O_DIRECT: drops what is cached, and writes through.
  bool store_directly(uint64_t page, uint64_t value) {
    Page& cached = pages_.at(page);
    MutexLock lock(cached.mutex);
    if (!launder(page)) return false;
    cached.is_cached = false;
    return write(page, value, Origin::kProgram);
  }
  bool write_back(uint64_t page) {
    Page& cached = pages_.at(page);
    MutexLock lock(cached.mutex);
    return launder(page);
  }
  bool drop(uint64_t page) {  // inval, or the kernel wants its memory back
    Page& cached = pages_.at(page);
    MutexLock lock(cached.mutex);
    if (!launder(page)) return false;
    cached.is_cached = false;
    return true;
  }
  bool is_cached(uint64_t page) {
    Page& cached = pages_.at(page);
    MutexLock lock(cached.mutex);
    return cached.is_cached;
  }

 private:
  struct Page {
    Mutex mutex;
    bool is_cached = false;
    bool is_dirty = false;
    uint64_t value = 0;
  };

  // With the page's lock.
  bool fill(uint64_t page) {
    Page& cached = pages_.at(page);
    if (cached.is_cached) return true;
    std::array<std::byte, kPageSize> bytes{};
    if (!memory_.read(pages(page), bytes)) return false;
    std::memcpy(&cached.value, bytes.data(), sizeof(cached.value));
    cached.is_cached = true;
    return true;
  }
  bool launder(uint64_t page) {
    Page& cached = pages_.at(page);
    if (!cached.is_dirty) return true;
    if (!write(page, cached.value, Origin::kWriteback)) return false;
    cached.is_dirty = false;
    return true;
  }
  bool write(uint64_t page, uint64_t value, Origin origin) {
    std::array<std::byte, kPageSize> bytes{};
    std::memcpy(bytes.data(), &value, sizeof(value));
    return memory_.write(page * kPageSize, bytes, origin).has_value();
  }

  PrivateMemory& memory_;
  std::array<Page, kPages> pages_;
};

// Programs, the kernel's page cache and migrations, in random order: a load gives what was stored
// last, a page on the device is in nobody's cache, and references are the pages that are out.
TEST_F(PrivateMemoryTest, MatchesAPageModelBehindAPageCache) {
  constexpr unsigned kSeed = 271828;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  const auto below = [&](uint64_t end) { return random() % end; };
  PageCache cache(memory_);
  std::array<uint64_t, kPages> expected{};
  PrivateMemory::Migration migration;
  FileRange moving;
  uint64_t invalidated = 0;  // the next page of `moving` to drop
  uint64_t moved = 0;

  for (int round = 0; round < 60'000; ++round) {
    const uint64_t page = below(kPages);
    const bool has_memory = below(20) != 0;
    ram_.write_error = has_memory ? 0 : ENOMEM;
    switch (below(10)) {
      case 0:
      case 1: {
        const auto value = cache.load(page);
        ASSERT_TRUE(!value || value == expected[page]);
        ASSERT_TRUE(value || !has_memory);
        break;
      }
      case 2:
        if (cache.store(page, random())) expected[page] = *cache.load(page);
        break;
      case 3:
        if (cache.store_directly(page, static_cast<uint64_t>(round))) {
          expected[page] = static_cast<uint64_t>(round);
        }
        break;
      case 4:
        (void)cache.write_back(page);
        break;
      case 5:
        (void)cache.drop(page);
        break;
      case 6:
        if (migration) break;
        moving = pages(page, 1 + below(kPages - page));
        if (auto begun = memory_.begin_migrate(moving)) migration = *std::move(begun);
        invalidated = page;
        break;
      case 7:
      case 8:  // the inval, some pages of it
        for (int i = 0; migration && i < 8 && invalidated * kPageSize < moving.end; ++i) {
          if (!cache.drop(invalidated)) break;
          ++invalidated;
        }
        break;
      default:
        if (!migration || invalidated * kPageSize < moving.end) break;
        moved += memory_.finish_migrate(std::move(migration));
        for (const FileRange range : memory_.device_ranges(kPages)) {
          for (uint64_t at = range.begin; at < range.end; at += kPageSize) {
            ASSERT_FALSE(cache.is_cached(at / kPageSize)) << "the CPU could touch it";
          }
        }
    }
    if (below(200) == 0) {  // a removal that fails, or is taken back
      gpu_->ref().kill();
      ram_.write_error = below(2) == 0 ? ENOMEM : 0;
      (void)memory_.migrate_all_to_ram(deadline_after(std::chrono::seconds(30)));
      gpu_->resurrect();
    }
    const auto counts = memory_.counts();
    ASSERT_EQ(gpu_->references(), counts.device_pages);
    ASSERT_EQ(counts.free_pages, kPages - counts.device_pages);
  }
  ram_.write_error = 0;
  migration.reset();
  for (uint64_t page = 0; page < kPages; ++page) ASSERT_EQ(cache.load(page), expected[page]);
  EXPECT_EQ(device_pages(), 0U);
  EXPECT_GT(moved, kPages) << "this test hardly migrates";
  EXPECT_GE(gpu_->freed_pages(), moved);
}

// Threads load and store their own pages while all of them migrate, again and again, and the device
// is killed in the middle.
TEST_F(PrivateMemoryTest, TouchesMigrationsAndKillAtOnce) {
  constexpr uint64_t kThreads = 3;
  PageCache cache(memory_);
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> moved = 0;
  std::vector<std::thread> threads;
  for (uint64_t id = 0; id < kThreads; ++id) {
    threads.emplace_back([&, id] {
      std::mt19937 random(static_cast<unsigned>(id));
      std::array<uint64_t, kPages> expected{};
      while (!stop) {
        const uint64_t page = random() % (kPages / kThreads) * kThreads + id;
        if (random() % 4 == 0) {
          expected[page] = random();
          ASSERT_TRUE(cache.store(page, expected[page]));
        } else if (random() % 4 == 0) {
          ASSERT_TRUE(cache.drop(page));
        } else {
          ASSERT_EQ(cache.load(page), expected[page]);
        }
      }
    });
  }
  for (int round = 0; round < 5; ++round) {
    std::thread migrator([&] {
      while (auto migration = memory_.begin_migrate(pages(0, kPages))) {
        for (uint64_t page = 0; page < kPages; ++page) ASSERT_TRUE(cache.drop(page));
        moved += memory_.finish_migrate(*std::move(migration));
      }
    });
    const uint64_t before = moved;
    while (moved == before) std::this_thread::yield();
    gpu_->ref().kill();
    ASSERT_TRUE(memory_.migrate_all_to_ram(deadline_after(std::chrono::seconds(30))));
    ASSERT_TRUE(gpu_->ref().wait(deadline_after(std::chrono::seconds(30))));
    ASSERT_EQ(device_pages(), 0U) << "a page went behind the kill";
    migrator.join();
    gpu_->resurrect();
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(gpu_->references(), device_pages());
}

}  // namespace
}  // namespace pmemd
