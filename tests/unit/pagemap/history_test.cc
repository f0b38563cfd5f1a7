// Bugs that the kernel had in the life cycle of device pages, each as a test.
//
// Each comment tells what happened then, and under "Take out" what to take out of the sources to
// see the test fail; all of them were tried.
#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "core/pagemap/pagemap_registry.h"
#include "tests/unit/pagemap/units.h"

namespace pmemd {
namespace {

Pfn in_unit(uint64_t unit) { return Pfn::of(unit * kUnit); }

// Until 5.2 the release of a pagemap killed the reference, put the pages' own, and then removed the
// memory at once; with a page still in use (a p2pdma buffer in flight) its last put came to a page
// structure that was gone. Fixed by "mm/devm_memremap_pages: fix final page put race" (June 2019):
// wait first.
// Take out: the wait in PagemapRegistry::memunmap_pages().
TEST(History, PagesTornDownBeforeTheLastReferenceWasGone) {
  PagemapRegistry registry;
  DevPagemap pagemap("p2p", MemoryType::kPciP2pdma, units(0, 2));
  DevPagemap next("next", MemoryType::kFsDax, units(0, 2));
  ASSERT_TRUE(registry.memremap_pages(pagemap));
  PagemapRef in_flight = registry.get_dev_pagemap(in_unit(1));
  ASSERT_TRUE(in_flight);

  EXPECT_EQ(registry.memunmap_pages(pagemap, Clock::now()).err(), ETIMEDOUT);
  EXPECT_TRUE(registry.pfn_valid(in_unit(1))) << "the page of the one in flight is there";
  EXPECT_TRUE(registry.explain(in_unit(1)).pagemap);
  EXPECT_EQ(registry.memremap_pages(next).err(), ENOMEM) << "and is nobody else's";

  in_flight.reset();
  EXPECT_TRUE(registry.memunmap_pages(pagemap, Clock::now()));
  EXPECT_FALSE(registry.pfn_valid(in_unit(1)));
}

// Until 5.0 devm_memremap_pages() didn't look at what devm_add_action() said. When that failed, the
// range stayed in the tree of pagemaps without anybody to take it out, and each later enable of
// that namespace failed, until the next boot. Fixed by "mm, devm_memremap_pages: handle errors
// allocating final devres action" (December 2018).
// Take out: pageunmap_ranges() where memremap_pages() fails.
TEST(History, FailedSetupPoisonsTheRange) {
  PagemapRegistry registry;
  ASSERT_TRUE(registry.add_system_ram(units(0, 2)));
  DevPagemap other("other", MemoryType::kFsDax, units(10, 11));
  ASSERT_TRUE(registry.memremap_pages(other));
  for (const auto& [last, err] :
       {std::pair{units(10, 12), ENOMEM}, std::pair{units(1, 3), ENXIO}}) {
    auto failing = std::make_unique<DevPagemap>(
        DevPagemap::Setup{.name = "failing", .ranges = {units(4, 5), units(6, 8), last}});
    ASSERT_EQ(registry.memremap_pages(*failing).err(), err);
    EXPECT_FALSE(registry.explain(in_unit(4)).pagemap);
    EXPECT_FALSE(registry.explain(in_unit(6)).pagemap);
    failing.reset();
    DevPagemap again({.name = "again", .ranges = {units(4, 5), units(6, 8)}});
    EXPECT_TRUE(registry.memremap_pages(again)) << "the next enable works";
    EXPECT_TRUE(registry.memunmap_pages(again, Clock::now()));
  }
  ASSERT_TRUE(registry.memunmap_pages(other, Clock::now()));
}

// In 5.10 soft_offline_page() went back without putting the page that madvise() had taken, if the
// pfn was a device's: each such call leaked a reference, and the removal of that device waited for
// ever. Fixed by "mm: fix page reference leak in soft_offline_page()" (5.11, January 2021).
// Take out: reset() in PercpuRef::Ref::~Ref(), which each of these paths relies upon; or
// hold_page_references(0) where memremap_pages() fails (that one ends in an assert).
TEST(History, ReferenceLeakedOnAnErrorPathHangsRemoval) {
  PagemapRegistry registry;
  ASSERT_TRUE(registry.add_system_ram(units(0, 4)));
  DevPagemap pagemap("m", MemoryType::kFsDax, units(4, 6), kUnit);
  DevPagemap elsewhere("e", MemoryType::kFsDax, units(100, 101));
  ASSERT_TRUE(registry.memremap_pages(pagemap));
  ASSERT_TRUE(registry.memremap_pages(elsewhere));

  EXPECT_FALSE(registry.pfn_to_online_page(in_unit(4))) << "found a pagemap, so: no page";
  EXPECT_FALSE(registry.explain(in_unit(4)).online);
  for (const Pfn none : {in_unit(50), Pfn{UINT64_MAX}, in_unit(100)}) {
    PagemapRef cached = registry.get_dev_pagemap(in_unit(5));
    ASSERT_TRUE(cached);
    (void)registry.get_dev_pagemap(none, std::move(cached));
    EXPECT_EQ(pagemap.references(), 0u);
  }
  elsewhere.ref().kill();
  EXPECT_FALSE(registry.get_dev_pagemap(in_unit(100), registry.get_dev_pagemap(in_unit(5))));
  DevPagemap failing({.name = "failing", .ranges = {units(70, 72), units(5, 6)}});
  EXPECT_EQ(registry.memremap_pages(failing).err(), ENOMEM);

  EXPECT_TRUE(registry.memunmap_pages(pagemap, Clock::now())) << "nothing to wait for";
  EXPECT_TRUE(registry.memunmap_pages(elsewhere, Clock::now()));
  EXPECT_TRUE(registry.memunmap_pages(failing, Clock::now()));
}

// The resources of a p2pdma device shared one reference, while each put its own pages and waited on
// its own: the first waited for the pages of the second, whose turn never came. Since 5.2 each has
// its own ("PCI/P2PDMA: track pgmap references per resource, not globally"); and since 5.10, when a
// pagemap got several ranges, all put before anybody waits.
// Take out: hold_page_references(0) in memunmap_pages(), or let it keep those of one range
// (hold_page_references(pagemap.pfn_len(1))).
TEST(History, TwoRangesOfOneReferenceWaitForEachOther) {
  PagemapRegistry registry;
  DevPagemap bars(
      {.name = "bars", .type = MemoryType::kPciP2pdma, .ranges = {units(0, 1), units(6, 9)}});
  for (int life = 0; life < 2; ++life) {
    ASSERT_TRUE(registry.memremap_pages(bars));
    const auto buffer = [&] { return registry.get_dev_pagemap(in_unit(7)); };
    {
      const PagemapRef held = buffer();
      EXPECT_EQ(registry.memunmap_pages(bars, Clock::now()).err(), ETIMEDOUT);
      // The pages' own went once; a second time would free the holder's page under it.
      EXPECT_EQ(registry.memunmap_pages(bars, Clock::now()).err(), ETIMEDOUT);
      EXPECT_EQ(bars.references(), 1u);
    }
    EXPECT_TRUE(registry.memunmap_pages(bars, Clock::now()));
    EXPECT_FALSE(registry.pfn_valid(in_unit(0)));
    EXPECT_FALSE(registry.pfn_valid(in_unit(8)));
  }
}

// Until 5.12 a section was online as a whole or not at all. Where a namespace began in the middle
// of one with System RAM, pfn_to_online_page() gave its pages out as the page allocator's, holes
// too. Fixed by "mm: teach pfn_to_online_page() to consider subsection validity" and "mm: teach
// pfn_to_online_page() about ZONE_DEVICE section collisions" (February 2021).
// Take out: has_zone_device_ = true in PhysicalMap::add_device(), or ask_subsection() in
// PagemapRegistry::online().
TEST(History, CollisionInASectionToldWrong) {
  PagemapRegistry registry;
  ASSERT_TRUE(registry.add_system_ram(units(0, 20)));
  DevPagemap pagemap("m", MemoryType::kFsDax, units(24, 200));
  ASSERT_TRUE(registry.memremap_pages(pagemap));
  for (uint64_t unit = 0; unit < 210; ++unit) {
    EXPECT_EQ(registry.pfn_to_online_page(in_unit(unit)), unit < 20) << "subsection " << unit;
  }
  ASSERT_TRUE(registry.memunmap_pages(pagemap, Clock::now()));
  for (uint64_t unit = 0; unit < 210; ++unit) {
    EXPECT_EQ(registry.pfn_to_online_page(in_unit(unit)), unit < 20) << "subsection " << unit;
  }
}

}  // namespace
}  // namespace pmemd
