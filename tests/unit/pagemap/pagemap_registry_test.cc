#include "core/pagemap/pagemap_registry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/pagemap/units.h"

namespace pmemd {
namespace {

constexpr std::chrono::seconds kLong{20};

Pfn pfn_of(uint64_t address) { return Pfn{address / kPageSize}; }

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
    EXPECT_EQ(registry.get_dev_pagemap(pfn_of(10 * kUnit)).get(), &first);
    EXPECT_EQ(registry.get_dev_pagemap(pfn_of(5 * kUnit)).get(), nullptr);
    EXPECT_EQ(registry.get_dev_pagemap(pfn_of(25 * kUnit)).get(), nullptr);
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
  EXPECT_EQ(registry.get_dev_pagemap(Pfn{0}).get(), &first);
  ASSERT_TRUE(registry.memunmap_pages(first, Clock::now()));
}

TEST(PagemapRegistry, GetFindsTheFirstAndTheLastPfnAndNoneBeside) {
  PagemapRegistry registry;
  DevPagemap map("m", MemoryType::kFsDax, units(3, 5));
  ASSERT_TRUE(registry.memremap_pages(map));
  const uint64_t first = map.range().begin / kPageSize;
  const uint64_t behind = map.range().end / kPageSize;
  for (const uint64_t pfn : {first, behind - 1}) {
    const PagemapRef found = registry.get_dev_pagemap(Pfn{pfn});
    EXPECT_EQ(found.get(), &map);
    EXPECT_EQ(map.references(), 1u);
  }
  EXPECT_EQ(map.references(), 0u);
  for (const uint64_t pfn : {uint64_t{0}, first - 1, behind, UINT64_MAX}) {
    EXPECT_FALSE(registry.get_dev_pagemap(Pfn{pfn})) << pfn;
  }
  ASSERT_TRUE(registry.memunmap_pages(map, Clock::now()));
}

TEST(PagemapRegistry, PfnBeyondTheAddressSpaceIsNobodys) {
  PagemapRegistry registry;
  DevPagemap map("m", MemoryType::kFsDax, units(0, 1));
  ASSERT_TRUE(registry.memremap_pages(map));
  EXPECT_EQ(registry.get_dev_pagemap(Pfn{uint64_t{1} << 52}).get(), nullptr);
  EXPECT_EQ(registry.get_dev_pagemap(Pfn{(uint64_t{3} << 52) + 7}).get(), nullptr);
  ASSERT_TRUE(registry.memunmap_pages(map, Clock::now()));
}

TEST(PagemapRegistry, UnmapWaitsForTheLastReferenceAndKeepsTheRangeMeanwhile) {
  PagemapRegistry registry;
  DevPagemap map("namespace0.0", MemoryType::kFsDax, units(0, 1));
  DevPagemap next("next", MemoryType::kFsDax, units(0, 1));
  ASSERT_TRUE(registry.memremap_pages(map));
  auto held = registry.get_dev_pagemap(Pfn{0});
  ASSERT_TRUE(held);
  const auto result = registry.memunmap_pages(map, Clock::now());
  EXPECT_EQ(result.err(), ETIMEDOUT);
  EXPECT_NE(result.error().message.find("namespace0.0: 1 references"), std::string::npos)
      << result.error().message;
  EXPECT_TRUE(map.ref().is_dying());
  EXPECT_EQ(registry.get_dev_pagemap(Pfn{0}).get(), nullptr) << "killed: no new references";
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
        ASSERT_EQ(registry.get_dev_pagemap(pfn_of(address)).get(), owner[u]) << "unit " << u;
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
        const PagemapRef map = registry.get_dev_pagemap(Pfn{1});
        if (map) found += map->name().size();  // freed: the sanitizers tell
      }
    });
  }
  for (int i = 0; i < 500 || found == 0; ++i) {
    auto map = std::make_unique<DevPagemap>("m", MemoryType::kFsDax, units(0, 1));
    ASSERT_TRUE(registry.memremap_pages(*map));
    if (i % 2 == 0) {
      EXPECT_TRUE(registry.get_dev_pagemap(Pfn{1}));
    }
    ASSERT_TRUE(registry.memunmap_pages(*map, deadline_after(kLong)));
    map.reset();
  }
  stop = true;
}

// --- several ranges

TEST(PagemapRegistry, AllRangesOfAPagemapAreFoundAndGoTogether) {
  PagemapRegistry registry;
  DevPagemap map({.name = "m", .ranges = {units(8, 9), units(0, 2), units(4, 6)}});
  ASSERT_TRUE(registry.memremap_pages(map));
  for (uint64_t unit = 0; unit < 10; ++unit) {
    const bool is_its = unit < 2 || unit == 4 || unit == 5 || unit == 8;
    EXPECT_EQ(registry.get_dev_pagemap(pfn_of(unit * kUnit)).get(), is_its ? &map : nullptr);
  }
  ASSERT_TRUE(registry.memunmap_pages(map, Clock::now()));
  for (uint64_t unit = 0; unit < 10; ++unit) {
    EXPECT_FALSE(registry.get_dev_pagemap(pfn_of(unit * kUnit)));
  }
}

TEST(PagemapRegistry, CollisionOfAnyRangeUnwindsExactlyThoseBeforeIt) {
  PagemapRegistry registry;
  DevPagemap first("first", MemoryType::kFsDax, units(4, 5));
  ASSERT_TRUE(registry.memremap_pages(first));
  for (const auto& ranges :
       std::vector<std::vector<PhysRange>>{{units(4, 5), units(0, 1), units(1, 2)},
                                           {units(0, 1), units(3, 5), units(1, 2)},
                                           {units(0, 1), units(1, 2), units(4, 7)},
                                           {units(0, 2), units(1, 3)}}) {  // with one of its own
    DevPagemap second({.name = "second", .ranges = ranges});
    EXPECT_EQ(registry.memremap_pages(second).err(), ENOMEM);
    EXPECT_TRUE(second.ref().is_drained());
    EXPECT_EQ(second.ref().count(), 0u);
    for (uint64_t unit = 0; unit < 8; ++unit) {
      EXPECT_EQ(registry.get_dev_pagemap(pfn_of(unit * kUnit)).get(), unit == 4 ? &first : nullptr);
    }
    DevPagemap third("third", MemoryType::kFsDax, units(0, 4));
    EXPECT_TRUE(registry.memremap_pages(third)) << "nothing of it is in the way";
    EXPECT_TRUE(registry.memunmap_pages(third, Clock::now()));
  }
  ASSERT_TRUE(registry.memunmap_pages(first, Clock::now()));
}

// --- the cached form

TEST(PagemapRegistry, CachedReferenceIsHandedBackWithinItsPagemapAndPutOutside) {
  PagemapRegistry registry;
  DevPagemap a({.name = "a", .ranges = {units(0, 1), units(2, 3)}});
  DevPagemap b("b", MemoryType::kGeneric, units(1, 2));
  ASSERT_TRUE(registry.memremap_pages(a));
  ASSERT_TRUE(registry.memremap_pages(b));
  PagemapRef ref = registry.get_dev_pagemap(Pfn{0});
  ref = registry.get_dev_pagemap(Pfn{1}, std::move(ref));
  ref = registry.get_dev_pagemap(pfn_of(2 * kUnit), std::move(ref));  // its other range
  EXPECT_EQ(ref.get(), &a);
  EXPECT_EQ(a.references(), 1u) << "the same one, not a second";
  ref = registry.get_dev_pagemap(pfn_of(kUnit), std::move(ref));
  EXPECT_EQ(ref.get(), &b);
  EXPECT_EQ(a.references(), 0u);
  EXPECT_EQ(b.references(), 1u);
  ref = registry.get_dev_pagemap(pfn_of(3 * kUnit), std::move(ref));
  EXPECT_FALSE(ref);
  EXPECT_EQ(b.references(), 0u) << "put, though nothing was found";
  ref = registry.get_dev_pagemap(Pfn{0}, std::move(ref));
  ref = registry.get_dev_pagemap(Pfn{UINT64_MAX}, std::move(ref));
  EXPECT_FALSE(ref);
  EXPECT_EQ(a.references(), 0u);
  ASSERT_TRUE(registry.memunmap_pages(a, Clock::now()));
  ASSERT_TRUE(registry.memunmap_pages(b, Clock::now()));
}

TEST(PagemapRegistry, CachedReferenceSurvivesTheKillThatEndsNewOnes) {
  PagemapRegistry registry;
  DevPagemap map("m", MemoryType::kFsDax, units(0, 1));
  ASSERT_TRUE(registry.memremap_pages(map));
  PagemapRef ref = registry.get_dev_pagemap(Pfn{0});
  map.ref().kill();
  EXPECT_FALSE(registry.get_dev_pagemap(Pfn{1}));
  ref = registry.get_dev_pagemap(Pfn{1}, std::move(ref));
  EXPECT_EQ(ref.get(), &map);
  ref.reset();
  EXPECT_FALSE(ref);
  ASSERT_TRUE(registry.memunmap_pages(map, Clock::now()));
}

// --- after a timeout

TEST(PagemapRegistry, ResurrectAfterATimeoutGivesThePagesTheirReferencesBack) {
  PagemapRegistry registry;
  DevPagemap map({.name = "m", .ranges = {units(0, 1), units(2, 4)}});
  ASSERT_TRUE(registry.memremap_pages(map));
  const uint64_t born_with = map.ref().count();
  for (int round = 0; round < 3; ++round) {
    auto held = registry.get_dev_pagemap(Pfn{0});
    ASSERT_TRUE(held);
    EXPECT_EQ(registry.memunmap_pages(map, Clock::now()).err(), ETIMEDOUT);
    EXPECT_EQ(map.ref().count(), 1u) << "only the one held";
    if (round == 2) held.reset();  // drained meanwhile: it can live again all the same
    registry.resurrect(map);
    EXPECT_EQ(map.references(), held ? 1u : 0u);
    EXPECT_EQ(map.ref().count(), born_with + map.references());
    EXPECT_TRUE(registry.get_dev_pagemap(pfn_of(2 * kUnit)));
  }
  ASSERT_TRUE(registry.memunmap_pages(map, Clock::now()));
}

TEST(PagemapRegistry, ResurrectOfAKillAloneChangesNoCount) {
  PagemapRegistry registry;
  DevPagemap map("m", MemoryType::kFsDax, units(0, 1));
  ASSERT_TRUE(registry.memremap_pages(map));
  const uint64_t born_with = map.ref().count();
  map.ref().kill();
  EXPECT_EQ(map.references(), 0u) << "dying, and the pages' own are still there";
  registry.resurrect(map);
  EXPECT_EQ(map.ref().count(), born_with);
  ASSERT_TRUE(registry.memunmap_pages(map, Clock::now()));
}

TEST(PagemapRegistry, AbandonFreesTheRangeAndTheLatePutFindsTheOldObject) {
  PagemapRegistry registry;
  auto leaky = std::make_unique<DevPagemap>("leaky", MemoryType::kFsDax, units(0, 2));
  ASSERT_TRUE(registry.memremap_pages(*leaky));
  auto first = registry.get_dev_pagemap(Pfn{0});
  auto second = registry.get_dev_pagemap(Pfn{0});
  EXPECT_EQ(registry.memunmap_pages(*leaky, Clock::now()).err(), ETIMEDOUT);
  EXPECT_EQ(registry.abandon(std::move(leaky)), 2u);
  EXPECT_FALSE(registry.get_dev_pagemap(Pfn{0}));

  DevPagemap next("next", MemoryType::kFsDax, units(1, 3));
  EXPECT_TRUE(registry.memremap_pages(next));
  EXPECT_EQ(first->name(), "leaky") << "alive while somebody holds it";
  first.reset();
  EXPECT_EQ(second->name(), "leaky");
  second.reset();
  EXPECT_EQ(next.references(), 0u) << "late puts don't hit the successor";
  ASSERT_TRUE(registry.memunmap_pages(next, Clock::now()));
}

// A pagemap whose end can be seen: `life` expires with it.
std::unique_ptr<DevPagemap> watched(std::weak_ptr<int>& life) {
  auto alive = std::make_shared<int>(0);
  life = alive;
  return std::make_unique<DevPagemap>(
      DevPagemap::Setup{.name = "watched",
                        .ranges = {units(0, 2)},
                        .ops = {.page_free = [alive](PhysRange) {}, .migrate_to_ram = nullptr}});
}

TEST(PagemapRegistry, AbandonPutsThePagesReferencesItselfAndFreesWhatIsDrained) {
  PagemapRegistry registry;
  std::weak_ptr<int> life;
  auto map = watched(life);
  ASSERT_TRUE(registry.memremap_pages(*map));
  map->ref().kill();  // and no memunmap_pages()
  EXPECT_EQ(registry.abandon(std::move(map)), 0u);
  EXPECT_TRUE(life.expired());
  EXPECT_EQ(registry.abandon(watched(life)), 0u) << "never registered";
  EXPECT_TRUE(life.expired());
}

TEST(PagemapRegistry, AbandonedIsFreedByTheNextAbandonOnceItHasDrained) {
  PagemapRegistry registry;
  std::weak_ptr<int> life;
  std::weak_ptr<int> other;
  auto map = watched(life);
  ASSERT_TRUE(registry.memremap_pages(*map));
  auto held = registry.get_dev_pagemap(Pfn{0});
  map->ref().kill();
  EXPECT_EQ(registry.abandon(std::move(map)), 1u);
  EXPECT_EQ(registry.abandon(watched(other)), 0u);
  EXPECT_FALSE(life.expired()) << "somebody holds it";
  held.reset();
  EXPECT_EQ(registry.abandon(watched(other)), 0u);
  EXPECT_TRUE(life.expired());
}

// The leak checker must not mind, and nothing asserts at the end of the process.
TEST(PagemapRegistry, WhatNeverDrainsIsKeptForEver) {
  auto registry = std::make_unique<PagemapRegistry>();
  auto map = std::make_unique<DevPagemap>("lost", MemoryType::kFsDax, units(0, 1));
  ASSERT_TRUE(registry->memremap_pages(*map));
  ASSERT_TRUE(map->ref().tryget_live());
  map->ref().get_many(1);  // leaked
  map->ref().kill();
  EXPECT_EQ(registry->abandon(std::move(map)), 1u);
  registry.reset();
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
