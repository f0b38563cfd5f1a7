#include "core/pagemap/sections.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/pagemap/pagemap_registry.h"
#include "tests/unit/pagemap/units.h"

namespace pmemd {
namespace {

constexpr uint64_t kUnitsPerSection = kSubsectionsPerSection;

Pfn in_unit(uint64_t unit) { return Pfn::of(unit * kUnit + 5 * kPageSize); }

// --- the map itself

TEST(PhysicalMap, NothingIsThereWhereNothingWasAdded) {
  const PhysicalMap map;
  for (const uint64_t nr : {uint64_t{0}, uint64_t{255}, kSectionEnd - 1, kSectionEnd, UINT64_MAX}) {
    EXPECT_FALSE(map.section(nr).is_valid());
    EXPECT_FALSE(map.section(nr).is_online());
    EXPECT_FALSE(map.section(nr).pfn_section_valid(Pfn{nr}));
  }
  EXPECT_EQ(map.bytes_of_memory(), 0u);
}

TEST(PhysicalMap, SectionsRememberWhatTheyHold) {
  PhysicalMap map;
  map.add_system_ram(units(0, kUnitsPerSection + 3));
  map.add_device(units(kUnitsPerSection + 3, 2 * kUnitsPerSection));
  map.add_device(units(2 * kUnitsPerSection, 3 * kUnitsPerSection));
  EXPECT_TRUE(map.section(0).is_early());
  EXPECT_TRUE(map.section(0).is_online());
  EXPECT_FALSE(map.section(0).is_online_device());
  EXPECT_TRUE(map.section(1).is_online_device()) << "RAM and a device";
  EXPECT_TRUE(map.section(2).is_valid());
  EXPECT_FALSE(map.section(2).is_early());
  EXPECT_FALSE(map.section(2).is_online());
  EXPECT_TRUE(map.overlaps_system_ram(units(kUnitsPerSection + 2, kUnitsPerSection + 9)));
  EXPECT_FALSE(map.overlaps_system_ram(units(kUnitsPerSection + 3, kUnitsPerSection + 9)));
}

TEST(PhysicalMap, SectionGoesWithItsLastSubsectionAndItsTaintWithIt) {
  PhysicalMap map;
  map.add_device(units(kUnitsPerSection, kUnitsPerSection + 1));  // a neighbour, in the same block
  map.add_device(units(1, 3));
  map.add_device(units(3, 4));
  map.remove_device(units(1, 3));
  EXPECT_TRUE(map.section(0).is_valid());
  EXPECT_FALSE(map.section(0).pfn_section_valid(in_unit(2)));
  EXPECT_TRUE(map.section(0).pfn_section_valid(in_unit(3)));
  map.remove_device(units(3, 4));
  EXPECT_FALSE(map.section(0).is_valid());
  EXPECT_TRUE(map.section(1).is_valid());
  map.add_system_ram(units(0, kUnitsPerSection));
  EXPECT_FALSE(map.section(0).is_online_device()) << "the taint was the old section's";
  map.remove_device(units(kUnitsPerSection, kUnitsPerSection + 1));
  EXPECT_FALSE(map.section(1).is_valid());
}

TEST(PhysicalMap, MemoryGrowsWithSectionsNotWithPages) {
  PhysicalMap map;
  const PhysRange tebibyte = PhysRange::sized(kTiB, kTiB);
  map.add_device(tebibyte);
  const uint64_t sections = kTiB / kSectionSize;
  EXPECT_LE(map.bytes_of_memory(), sections * 16 + 33 * 8);
  map.add_device({kPhysicalAddressEnd - kUnit, kPhysicalAddressEnd});  // far away from it
  EXPECT_LE(map.bytes_of_memory(), (sections + 256) * 16 + 34 * 8);
  map.remove_device(tebibyte);
  EXPECT_LE(map.bytes_of_memory(), 256 * 16 + 8u);
}

// --- what is told of pfns

TEST(Sections, SystemRamIsWholeSubsectionsAndNobodyElses) {
  PagemapRegistry registry;
  DevPagemap map("m", MemoryType::kFsDax, units(10, 12));
  ASSERT_TRUE(registry.memremap_pages(map));
  ASSERT_TRUE(registry.add_system_ram(units(0, 4)));
  for (const PhysRange wrong :
       {PhysRange{0, 0}, PhysRange{kUnit, 0}, PhysRange{20 * kUnit + 1, 21 * kUnit},
        PhysRange{20 * kUnit, 21 * kUnit - kPageSize},
        PhysRange{kPhysicalAddressEnd, kPhysicalAddressEnd + kUnit}}) {
    EXPECT_EQ(registry.add_system_ram(wrong).err(), EINVAL);
  }
  EXPECT_EQ(registry.add_system_ram(units(3, 5)).err(), EEXIST);
  EXPECT_EQ(registry.add_system_ram(units(8, 11)).err(), EEXIST);
  EXPECT_FALSE(registry.pfn_to_online_page(in_unit(4))) << "nothing of the refused ones is left";
  EXPECT_FALSE(registry.pfn_to_online_page(in_unit(8)));
  EXPECT_TRUE(registry.add_system_ram(units(4, 5)));
  ASSERT_TRUE(registry.memunmap_pages(map, Clock::now()));
}

TEST(Sections, DeviceOnSystemRamIsRefusedAndUnwound) {
  PagemapRegistry registry;
  ASSERT_TRUE(registry.add_system_ram(units(4, 8)));
  for (const PhysRange range : {units(4, 8), units(3, 5), units(7, 9), units(5, 6), units(0, 20)}) {
    DevPagemap map({.name = "m", .ranges = {units(30, 31), range}});
    const auto result = registry.memremap_pages(map);
    ASSERT_EQ(result.err(), ENXIO);
    EXPECT_FALSE(result.error().hint.empty());
    EXPECT_TRUE(map.ref().is_drained());
    EXPECT_FALSE(registry.get_dev_pagemap(in_unit(30)));
    EXPECT_FALSE(registry.pfn_valid(in_unit(kUnitsPerSection)));
  }
  DevPagemap beside({.name = "m", .ranges = {units(0, 4), units(8, 20)}});
  EXPECT_TRUE(registry.memremap_pages(beside));
  ASSERT_TRUE(registry.memunmap_pages(beside, Clock::now()));
}

TEST(Sections, HoleInAnEarlySectionIsValidButNotOnline) {
  PagemapRegistry registry;
  ASSERT_TRUE(registry.add_system_ram(units(0, 4)));
  EXPECT_TRUE(registry.pfn_valid(in_unit(4)));
  EXPECT_FALSE(registry.pfn_to_online_page(in_unit(4)));
  EXPECT_FALSE(registry.pfn_valid(in_unit(kUnitsPerSection)));
}

// The kernel has it so, too: what decides in a mixed section is get_dev_pagemap(), and that finds
// no dying pagemap.
TEST(Sections, PageOfADyingDeviceInAMixedSectionIsToldOnline) {
  PagemapRegistry registry;
  ASSERT_TRUE(registry.add_system_ram(units(0, 4)));
  DevPagemap mixed("mixed", MemoryType::kFsDax, units(4, 6));
  DevPagemap alone("alone", MemoryType::kFsDax, units(kUnitsPerSection, kUnitsPerSection + 2));
  ASSERT_TRUE(registry.memremap_pages(mixed));
  ASSERT_TRUE(registry.memremap_pages(alone));
  EXPECT_FALSE(registry.pfn_to_online_page(in_unit(4)));
  mixed.ref().kill();
  alone.ref().kill();
  EXPECT_TRUE(registry.pfn_to_online_page(in_unit(4)));
  EXPECT_NE(registry.explain(in_unit(4)).verdict.find("mixed is dying"), std::string::npos);
  EXPECT_FALSE(registry.pfn_to_online_page(in_unit(kUnitsPerSection)));
  ASSERT_TRUE(registry.memunmap_pages(mixed, Clock::now()));
  ASSERT_TRUE(registry.memunmap_pages(alone, Clock::now()));
  EXPECT_FALSE(registry.pfn_to_online_page(in_unit(4)));
}

TEST(Sections, PfnsBeyondTheAddressSpaceAreNothing) {
  PagemapRegistry registry;
  for (const Pfn pfn : {Pfn{kPfnEnd}, Pfn{kPfnEnd * 4}, Pfn{UINT64_MAX}}) {
    EXPECT_FALSE(registry.pfn_valid(pfn));
    EXPECT_FALSE(registry.pfn_to_online_page(pfn));
    EXPECT_FALSE(registry.explain(pfn).pagemap);
    EXPECT_FALSE(registry.explain(pfn).steps.front().yes);
  }
}

// --- against a slow plain model

// What is where, by subsection; nothing of sections but what follows from that.
class Model {
 public:
  static constexpr uint64_t kUnits = 5 * kUnitsPerSection;
  struct Unit {
    bool is_ram = false;
    const DevPagemap* device = nullptr;
  };

  std::vector<Unit> map = std::vector<Unit>(kUnits);

  // What memremap_pages() says to it.
  int errno_of(const std::vector<PhysRange>& ranges) const {
    auto taken = map;
    static const DevPagemap self("self", MemoryType::kGeneric, {});
    for (const PhysRange range : ranges) {
      if (any(taken, range, [](const Unit& unit) { return unit.device != nullptr; })) return ENOMEM;
      if (any(taken, range, [](const Unit& unit) { return unit.is_ram; })) return ENXIO;
      for (uint64_t unit = range.begin / kUnit; unit < range.end / kUnit; ++unit) {
        taken[unit].device = &self;
      }
    }
    return 0;
  }
  bool is_free(PhysRange range) const {
    return !any(map, range, [](const Unit& unit) { return unit.is_ram || unit.device != nullptr; });
  }
  bool section_has_ram(uint64_t unit) const {
    const uint64_t begin = unit - unit % kUnitsPerSection;
    return any(map, units(begin, begin + kUnitsPerSection),
               [](const Unit& one) { return one.is_ram; });
  }
  bool pfn_valid(uint64_t unit) const {
    return section_has_ram(unit) || map[unit].device != nullptr;
  }
  bool online(uint64_t unit, bool is_dying) const {
    return map[unit].is_ram || (is_dying && section_has_ram(unit));
  }

 private:
  template <class Is>
  static bool any(const std::vector<Unit>& map, PhysRange range, Is is) {
    const auto at = [&](uint64_t address) {
      return map.begin() + static_cast<std::ptrdiff_t>(address / kUnit);
    };
    return std::any_of(at(range.begin), at(range.end), is);
  }
};

class SectionsModel : public testing::TestWithParam<uint64_t> {
 protected:
  ~SectionsModel() override {
    for (auto& device : devices_) EXPECT_TRUE(registry_.memunmap_pages(*device, Clock::now()));
  }

  PhysRange random_range(uint64_t longest) {
    const uint64_t begin = random_() % Model::kUnits;
    return units(begin, std::min(Model::kUnits, begin + 1 + random_() % longest));
  }
  template <class Change>
  void change_model(PhysRange range, Change change) {
    for (uint64_t unit = range.begin / kUnit; unit < range.end / kUnit; ++unit) {
      change(model_.map[unit]);
    }
  }

  void add_ram() {
    const PhysRange range = random_range(20);
    const bool is_free = model_.is_free(range);
    ASSERT_EQ(registry_.add_system_ram(range).err(), is_free ? 0 : EEXIST);
    if (is_free) change_model(range, [](auto& unit) { unit.is_ram = true; });
  }
  void add_device() {
    std::vector<PhysRange> ranges(1 + random_() % 3);
    for (PhysRange& range : ranges) range = random_range(random_() % 4 == 0 ? 100 : 6);
    const int expected = model_.errno_of(ranges);
    auto device = std::make_unique<DevPagemap>(
        DevPagemap::Setup{.name = "device" + std::to_string(++names_),
                          .ranges = ranges,
                          .metadata_bytes = random_() % (kUnit / kPageSize) * kPageSize});
    ASSERT_EQ(registry_.memremap_pages(*device).err(), expected);
    if (expected != 0) return;
    for (const PhysRange range : ranges) {
      change_model(range, [&](auto& unit) { unit.device = device.get(); });
    }
    devices_.push_back(std::move(device));
  }
  void kill_or_unmap_device() {
    if (devices_.empty()) return;
    const auto which = devices_.begin() + static_cast<std::ptrdiff_t>(random_() % devices_.size());
    DevPagemap& device = **which;
    if (random_() % 2 == 0 && !device.ref().is_dying()) return device.ref().kill();
    if (random_() % 4 == 0 && device.ref().is_dying()) return registry_.resurrect(device);
    ASSERT_TRUE(registry_.memunmap_pages(device, Clock::now()));
    for (const PhysRange range : device.ranges()) {
      change_model(range, [](auto& unit) { unit.device = nullptr; });
    }
    devices_.erase(which);
  }

  void compare(uint64_t unit) {
    constexpr uint64_t kPages = kUnit / kPageSize;
    const Pfn pfn{unit * kPages + random_() % kPages};
    DevPagemap* const device = const_cast<DevPagemap*>(model_.map[unit].device);
    const bool is_dying = device != nullptr && device->ref().is_dying();
    ASSERT_EQ(registry_.pfn_valid(pfn), model_.pfn_valid(unit));
    ASSERT_EQ(registry_.pfn_to_online_page(pfn), model_.online(unit, is_dying));
    ASSERT_EQ(registry_.get_dev_pagemap(pfn).get(), is_dying ? nullptr : device);
    if (device != nullptr) {
      const uint64_t metadata_end = device->range().begin + device->metadata_bytes();
      const bool is_metadata =
          device->range().contains(pfn.address()) && pfn.address() < metadata_end;
      ASSERT_EQ(pgmap_pfn_valid(*device, pfn), !is_metadata);
      ASSERT_EQ(device->references(), 0u) << "each lookup's was dropped";
    }
    if (unit % 16 == 0) {  // the one that puts it into words
      const Explanation told = registry_.explain(pfn);
      ASSERT_EQ(told.pfn_valid, model_.pfn_valid(unit));
      ASSERT_EQ(told.online, model_.online(unit, is_dying));
      ASSERT_EQ(told.pagemap ? told.pagemap->name : "", device != nullptr ? device->name() : "");
    }
  }

  std::mt19937_64 random_{GetParam()};
  PagemapRegistry registry_;
  std::vector<std::unique_ptr<DevPagemap>> devices_;
  Model model_;
  int names_ = 0;
};

TEST_P(SectionsModel, PfnsAreToldAsAPlainTableTells) {
  SCOPED_TRACE(testing::Message() << "seed " << GetParam());
  for (int step = 0; step < 150; ++step) {
    const uint64_t dice = random_() % 20;
    if (dice == 0 || (step < 10 && dice < 8)) {
      ASSERT_NO_FATAL_FAILURE(add_ram());
    } else if (dice < 11) {
      ASSERT_NO_FATAL_FAILURE(add_device());
    } else {
      ASSERT_NO_FATAL_FAILURE(kill_or_unmap_device());
    }
    for (uint64_t unit = 0; unit < Model::kUnits; ++unit) {
      ASSERT_NO_FATAL_FAILURE(compare(unit)) << "step " << step << ", subsection " << unit;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, SectionsModel, testing::Range(uint64_t{1}, uint64_t{33}));

}  // namespace
}  // namespace pmemd
