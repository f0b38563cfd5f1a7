#include "core/pagemap/dev_pagemap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace pmemd {
namespace {

constexpr std::chrono::seconds kLong{20};
constexpr uint64_t kUnit = kSubsectionSize;

PhysRange units(uint64_t begin, uint64_t end) { return {begin * kUnit, end * kUnit}; }
Pfn pfn_of(uint64_t address) { return Pfn{address / kPageSize}; }

TEST(DevPagemap, KnowsItsNameTypeAndRange) {
  const DevPagemap map("namespace0.0", MemoryType::kGeneric, units(1, 3));
  EXPECT_EQ(map.name(), "namespace0.0");
  EXPECT_EQ(map.type(), MemoryType::kGeneric);
  EXPECT_EQ(map.range(), units(1, 3));
}

TEST(PagemapRegistry, EmptyOrUnalignedRangeIsInvalid) {
  PagemapRegistry registry;
  for (const PhysRange range :
       {PhysRange{0, 0}, PhysRange{kUnit, kUnit}, PhysRange{2 * kUnit, kUnit},
        PhysRange{kPageSize, kUnit}, PhysRange{0, kUnit + kPageSize}, PhysRange{1, kUnit},
        PhysRange{0, kUnit - 1}}) {
    DevPagemap map("m", MemoryType::kFsDax, range);
    EXPECT_EQ(registry.memremap_pages(map).err(), EINVAL) << range.begin << '-' << range.end;
    EXPECT_TRUE(map.ref().is_drained());
  }
}

TEST(PagemapRegistry, RangeOfAnotherPagemapIsRefusedHoweverItOverlaps) {
  PagemapRegistry registry;
  DevPagemap first("first", MemoryType::kFsDax, units(10, 20));
  ASSERT_TRUE(registry.memremap_pages(first));
  for (const PhysRange range :
       {units(10, 20), units(10, 11), units(19, 20), units(12, 15), units(5, 11), units(19, 30),
        units(5, 30), units(10, 30), units(5, 20)}) {
    DevPagemap second("second", MemoryType::kFsDax, range);
    const auto result = registry.memremap_pages(second);
    ASSERT_EQ(result.err(), ENOMEM) << range.begin << '-' << range.end;
    EXPECT_NE(result.error().message.find("first"), std::string::npos);
    EXPECT_TRUE(second.ref().is_drained());
    // Nothing of it is left: not in the way of lookups, nor of the first one's end.
    EXPECT_EQ(registry.get_dev_pagemap(pfn_of(10 * kUnit)).first, &first);
    EXPECT_EQ(registry.get_dev_pagemap(pfn_of(5 * kUnit)).first, nullptr);
    EXPECT_EQ(registry.get_dev_pagemap(pfn_of(25 * kUnit)).first, nullptr);
  }
  ASSERT_TRUE(registry.memunmap_pages(first, Clock::now()));
}

TEST(PagemapRegistry, NeighboursAreFine) {
  PagemapRegistry registry;
  std::array maps = {std::make_unique<DevPagemap>("b", MemoryType::kFsDax, units(2, 4)),
                     std::make_unique<DevPagemap>("a", MemoryType::kFsDax, units(0, 2)),
                     std::make_unique<DevPagemap>("c", MemoryType::kFsDax, units(4, 5))};
  for (auto& map : maps) ASSERT_TRUE(registry.memremap_pages(*map));
  for (auto& map : maps) ASSERT_TRUE(registry.memunmap_pages(*map, Clock::now()));
}

TEST(PagemapRegistry, TwiceIsMultipleMappings) {
  PagemapRegistry registry;
  DevPagemap map("m", MemoryType::kFsDax, units(0, 1));
  ASSERT_TRUE(registry.memremap_pages(map));
  EXPECT_EQ(registry.memremap_pages(map).err(), ENOMEM);
  EXPECT_FALSE(map.ref().is_dying()) << "the registered one must not be harmed";
  ASSERT_TRUE(registry.memunmap_pages(map, Clock::now()));
}

// The kernel's historical bug: a failed setup poisoned the address range.
TEST(PagemapRegistry, FailedSetupLeavesTheRangeFree) {
  PagemapRegistry registry;
  DevPagemap first("first", MemoryType::kFsDax, units(0, 2));
  DevPagemap second("second", MemoryType::kFsDax, units(1, 3));
  ASSERT_TRUE(registry.memremap_pages(first));
  ASSERT_EQ(registry.memremap_pages(second).err(), ENOMEM);
  ASSERT_TRUE(registry.memunmap_pages(first, Clock::now()));
  EXPECT_TRUE(registry.memremap_pages(second));
  ASSERT_TRUE(registry.memunmap_pages(second, Clock::now()));
}

// Its owner may tear down what was never set up, without harm to who stands there.
TEST(PagemapRegistry, UnmappingWhatIsNotRegisteredTakesNobodyElseOut) {
  PagemapRegistry registry;
  DevPagemap first("first", MemoryType::kFsDax, units(0, 2));
  DevPagemap second("second", MemoryType::kFsDax, units(0, 1));
  ASSERT_TRUE(registry.memremap_pages(first));
  ASSERT_EQ(registry.memremap_pages(second).err(), ENOMEM);
  EXPECT_TRUE(registry.memunmap_pages(second, Clock::now()));
  EXPECT_EQ(registry.get_dev_pagemap(Pfn{0}).first, &first);
  ASSERT_TRUE(registry.memunmap_pages(first, Clock::now()));
}

TEST(PagemapRegistry, GetFindsTheFirstAndTheLastPfnAndNoneBeside) {
  PagemapRegistry registry;
  DevPagemap map("m", MemoryType::kFsDax, units(3, 5));
  ASSERT_TRUE(registry.memremap_pages(map));
  const uint64_t first = map.range().begin / kPageSize;
  const uint64_t behind = map.range().end / kPageSize;
  for (const uint64_t pfn : {first, behind - 1}) {
    const auto [found, ref] = registry.get_dev_pagemap(Pfn{pfn});
    EXPECT_EQ(found, &map);
    EXPECT_TRUE(ref);
    EXPECT_EQ(map.ref().count(), 1u);
  }
  EXPECT_EQ(map.ref().count(), 0u);
  for (const uint64_t pfn : {uint64_t{0}, first - 1, behind, UINT64_MAX}) {
    const auto [found, ref] = registry.get_dev_pagemap(Pfn{pfn});
    EXPECT_EQ(found, nullptr) << pfn;
    EXPECT_FALSE(ref);
  }
  ASSERT_TRUE(registry.memunmap_pages(map, Clock::now()));
}

TEST(PagemapRegistry, PfnBeyondTheAddressSpaceIsNobodys) {
  PagemapRegistry registry;
  DevPagemap map("m", MemoryType::kFsDax, units(0, 1));
  ASSERT_TRUE(registry.memremap_pages(map));
  EXPECT_EQ(registry.get_dev_pagemap(Pfn{uint64_t{1} << 52}).first, nullptr);
  EXPECT_EQ(registry.get_dev_pagemap(Pfn{(uint64_t{3} << 52) + 7}).first, nullptr);
  ASSERT_TRUE(registry.memunmap_pages(map, Clock::now()));
}

TEST(PagemapRegistry, UnmapWaitsForTheLastReferenceAndKeepsTheRangeMeanwhile) {
  PagemapRegistry registry;
  DevPagemap map("namespace0.0", MemoryType::kFsDax, units(0, 1));
  DevPagemap next("next", MemoryType::kFsDax, units(0, 1));
  ASSERT_TRUE(registry.memremap_pages(map));
  auto held = registry.get_dev_pagemap(Pfn{0}).second;
  ASSERT_TRUE(held);
  const auto result = registry.memunmap_pages(map, Clock::now());
  EXPECT_EQ(result.err(), ETIMEDOUT);
  EXPECT_NE(result.error().message.find("namespace0.0: 1 references"), std::string::npos)
      << result.error().message;
  EXPECT_TRUE(map.ref().is_dying());
  EXPECT_EQ(registry.get_dev_pagemap(Pfn{0}).first, nullptr) << "killed: no new references";
  EXPECT_EQ(registry.memremap_pages(next).err(), ENOMEM) << "not reused while references are out";
  EXPECT_EQ(registry.memunmap_pages(map, Clock::now()).err(), ETIMEDOUT);

  std::jthread putter([mine = std::move(held)]() mutable { mine.reset(); });
  EXPECT_TRUE(registry.memunmap_pages(map, deadline_after(kLong)));
  EXPECT_TRUE(registry.memremap_pages(next));
  ASSERT_TRUE(registry.memunmap_pages(next, Clock::now()));
}

TEST(PagemapRegistry, UnmapTakesARefThatItsOwnerHasKilled) {
  PagemapRegistry registry;
  DevPagemap map("m", MemoryType::kFsDax, units(0, 1));
  ASSERT_TRUE(registry.memremap_pages(map));
  map.ref().kill();
  EXPECT_TRUE(registry.memunmap_pages(map, Clock::now()));
  EXPECT_TRUE(registry.memremap_pages(map)) << "and it may live again";
  ASSERT_TRUE(registry.memunmap_pages(map, Clock::now()));
}

TEST(PagemapRegistry, RandomMapsAgreeWithAPlainTableOfOwners) {
  constexpr uint64_t kUnits = 32;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    PagemapRegistry registry;
    std::array<DevPagemap*, kUnits> owner{};
    std::vector<std::unique_ptr<DevPagemap>> maps;
    for (int i = 0; i < 300; ++i) {
      if (random() % 3 != 0 || maps.empty()) {
        const uint64_t begin = random() % kUnits;
        const uint64_t end = std::min(kUnits, begin + 1 + random() % 6);
        auto map = std::make_unique<DevPagemap>("m", MemoryType::kFsDax, units(begin, end));
        const auto* const from = owner.begin() + begin;
        const auto* const to = owner.begin() + end;
        const bool is_free = std::all_of(from, to, [](auto* o) { return o == nullptr; });
        ASSERT_EQ(registry.memremap_pages(*map).err(), is_free ? 0 : ENOMEM);
        if (!is_free) continue;
        for (uint64_t u = begin; u < end; ++u) owner[u] = map.get();
        maps.push_back(std::move(map));
      } else {
        const size_t which = random() % maps.size();
        ASSERT_TRUE(registry.memunmap_pages(*maps[which], Clock::now()));
        for (auto& o : owner) o = o == maps[which].get() ? nullptr : o;
        maps.erase(maps.begin() + static_cast<long>(which));
      }
      for (uint64_t u = 0; u < kUnits; ++u) {
        const uint64_t address = u * kUnit + random() % kUnit;
        ASSERT_EQ(registry.get_dev_pagemap(pfn_of(address)).first, owner[u]) << "unit " << u;
      }
    }
    for (auto& map : maps) ASSERT_TRUE(registry.memunmap_pages(*map, Clock::now()));
  }
}

// Lookups never meet a pagemap that memunmap_pages() has handed back to its owner.
TEST(PagemapRegistry, LookupsRaceWithUnmapAndFree) {
  PagemapRegistry registry;
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> found = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      while (!stop) {
        const auto [map, ref] = registry.get_dev_pagemap(Pfn{1});
        ASSERT_EQ(map != nullptr, static_cast<bool>(ref));
        if (map != nullptr) found += map->name().size();  // freed: the sanitizers tell
      }
    });
  }
  for (int i = 0; i < 500 || found == 0; ++i) {
    auto map = std::make_unique<DevPagemap>("m", MemoryType::kFsDax, units(0, 1));
    ASSERT_TRUE(registry.memremap_pages(*map));
    if (i % 2 == 0) {
      EXPECT_TRUE(registry.get_dev_pagemap(Pfn{1}).second);
    }
    ASSERT_TRUE(registry.memunmap_pages(*map, deadline_after(kLong)));
    map.reset();
  }
  stop = true;
}

TEST(PagemapRegistryDeathTest, DestroyedWithAPagemapInItIsABug) {
  EXPECT_DEATH(
      {
        DevPagemap map("m", MemoryType::kFsDax, units(0, 1));
        auto registry = std::make_unique<PagemapRegistry>();
        if (registry->memremap_pages(map)) registry.reset();
      },
      "by_begin_");
}

}  // namespace
}  // namespace pmemd
