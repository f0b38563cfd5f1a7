#include "core/pagemap/dev_pagemap.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "core/pagemap/pagemap_registry.h"
#include "tests/unit/pagemap/units.h"

namespace pmemd {
namespace {

constexpr uint64_t kPagesPerUnit = kUnit / kPageSize;

// One of each type with all that it must have.
DevPagemap::Setup complete(MemoryType type) {
  static const int kOwner = 0;
  DevPagemap::Setup setup{.name = "m", .type = type, .ranges = {units(0, 1), units(4, 6)}};
  setup.owner = &kOwner;
  setup.ops.page_free = [](PhysRange) {};
  setup.ops.migrate_to_ram = [](PhysRange) { return Result<void>(); };
  return setup;
}

// The errno of registering it; afterwards it is gone again.
int registering(DevPagemap::Setup setup) {
  PagemapRegistry registry;
  DevPagemap map(std::move(setup));
  const int err = registry.memremap_pages(map).err();
  EXPECT_TRUE(registry.memunmap_pages(map, Clock::now()));
  EXPECT_TRUE(map.ref().is_drained());
  return err;
}

constexpr std::array kTypes = {MemoryType::kPrivate, MemoryType::kCoherent, MemoryType::kFsDax,
                               MemoryType::kGeneric, MemoryType::kPciP2pdma};

TEST(DevPagemap, KnowsWhatItWasMadeWith) {
  const DevPagemap map("namespace0.0", MemoryType::kGeneric, units(1, 3), kPageSize);
  EXPECT_EQ(map.name(), "namespace0.0");
  EXPECT_EQ(map.type(), MemoryType::kGeneric);
  EXPECT_EQ(map.range(), units(1, 3));
  EXPECT_EQ(map.ranges().size(), 1u);
  EXPECT_EQ(map.metadata_bytes(), kPageSize);
  EXPECT_EQ(map.owner(), nullptr);
  EXPECT_EQ(map.references(), 0u);
}

TEST(DevPagemap, EachTypeHasAName) {
  std::set<std::string_view> names;
  for (const MemoryType type : kTypes) names.insert(to_string(type));
  EXPECT_EQ(names.size(), kTypes.size());
  EXPECT_FALSE(names.contains("unknown"));
}

TEST(DevPagemap, PrivateAndCoherentMemoryWantTheirOpsAndAnOwner) {
  const std::function<void(DevPagemap::Setup&)> takes_out[] = {
      [](auto& setup) { setup.ops.migrate_to_ram = nullptr; },
      [](auto& setup) { setup.ops.page_free = nullptr; },
      [](auto& setup) { setup.owner = nullptr; }};
  for (const MemoryType type : kTypes) {
    SCOPED_TRACE(to_string(type));
    EXPECT_EQ(registering(complete(type)), 0);
    for (size_t i = 0; i < std::size(takes_out); ++i) {
      auto setup = complete(type);
      takes_out[i](setup);
      const bool must_have =
          type == MemoryType::kPrivate || (type == MemoryType::kCoherent && i > 0);
      EXPECT_EQ(registering(std::move(setup)), must_have ? EINVAL : 0) << i;
    }
  }
}

TEST(DevPagemap, RangesAreWholeSubsectionsWithinTheAddressSpace) {
  constexpr uint64_t kEnd = kPhysicalAddressEnd;
  const std::vector<std::vector<PhysRange>> wrong = {
      {},
      {{0, 0}},
      {{kUnit, kUnit}},
      {{2 * kUnit, kUnit}},
      {{kPageSize, kUnit}},
      {{0, kUnit + kPageSize}},
      {{1, kUnit}},
      {{0, kUnit - 1}},
      {units(0, 1), {2 * kUnit, 2 * kUnit}},  // the second one
      {{kEnd, kEnd + kUnit}},
      {{0, kEnd + kUnit}}};
  for (const auto& ranges : wrong) {
    auto setup = complete(MemoryType::kFsDax);
    setup.ranges = ranges;
    EXPECT_EQ(registering(std::move(setup)), EINVAL);
  }
  auto last = complete(MemoryType::kFsDax);
  last.ranges = {{kEnd - kUnit, kEnd}};
  EXPECT_EQ(registering(std::move(last)), 0);
}

TEST(DevPagemap, MetadataIsWholePagesAndLeavesOne) {
  for (const auto& [bytes, err] :
       std::initializer_list<std::pair<uint64_t, int>>{{0, 0},
                                                       {kPageSize, 0},
                                                       {kUnit - kPageSize, 0},
                                                       {1, EINVAL},
                                                       {kPageSize + 512, EINVAL},
                                                       {kUnit, EINVAL},
                                                       {2 * kUnit, EINVAL}}) {
    auto setup = complete(MemoryType::kFsDax);
    setup.metadata_bytes = bytes;
    EXPECT_EQ(registering(std::move(setup)), err) << bytes;
  }
}

TEST(DevPagemap, PagesHoldAReferenceEachUnlessTheyAreGivenOutOneByOne) {
  for (const MemoryType type : kTypes) {
    SCOPED_TRACE(to_string(type));
    auto setup = complete(type);
    setup.metadata_bytes = 3 * kPageSize;
    PagemapRegistry registry;
    DevPagemap map(std::move(setup));
    ASSERT_TRUE(registry.memremap_pages(map));
    const bool is_private = type == MemoryType::kPrivate || type == MemoryType::kCoherent;
    EXPECT_EQ(map.ref().count(), is_private ? 0 : 3 * kPagesPerUnit - 3);
    EXPECT_EQ(map.references(), 0u);
    {
      const auto held = map.ref().tryget_live();
      EXPECT_EQ(map.references(), 1u);
    }
    ASSERT_TRUE(registry.memunmap_pages(map, Clock::now()));
    EXPECT_EQ(map.ref().count(), 0u);
  }
}

TEST(DevPagemap, PfnsOfTheMetadataAreItsOwnButNotValid) {
  auto setup = complete(MemoryType::kFsDax);
  setup.metadata_bytes = 2 * kPageSize;
  const DevPagemap map(std::move(setup));
  const auto expect = [&](uint64_t address, bool contains, bool valid) {
    EXPECT_EQ(map.contains(Pfn::of(address)), contains) << address;
    EXPECT_EQ(pgmap_pfn_valid(map, Pfn::of(address)), valid) << address;
  };
  expect(0, true, false);
  expect(2 * kPageSize - 1, true, false);
  expect(2 * kPageSize, true, true);
  expect(kUnit - 1, true, true);
  expect(kUnit, false, false);
  expect(4 * kUnit - 1, false, false);
  expect(4 * kUnit, true, true);  // only the first range begins with metadata
  expect(6 * kUnit - 1, true, true);
  expect(6 * kUnit, false, false);
  for (const Pfn beyond : {Pfn{kPfnEnd}, Pfn{kPfnEnd + kUnit}, Pfn{UINT64_MAX}}) {
    EXPECT_FALSE(map.contains(beyond));
    EXPECT_FALSE(pgmap_pfn_valid(map, beyond));
  }
}

TEST(DevPagemapDeathTest, DestroyedWhileRegisteredIsABug) {
  EXPECT_DEATH(
      {
        PagemapRegistry registry;
        DevPagemap map("m", MemoryType::kFsDax, units(0, 1));
        (void)registry.memremap_pages(map);
      },
      "nr_range_");
}

}  // namespace
}  // namespace pmemd
