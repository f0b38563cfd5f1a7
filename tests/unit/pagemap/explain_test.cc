#include "core/pagemap/explain.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/pagemap/pagemap_registry.h"
#include "tests/unit/pagemap/units.h"

namespace pmemd {
namespace {

// Section 0: RAM in its subsections 0-3, a device in 8-9. Section 1: RAM. Section 2: a device's.
// Section 4: a device in its first subsection.
class ExplainTest : public testing::Test {
 protected:
  ExplainTest() {
    EXPECT_TRUE(registry_.add_system_ram(units(0, 4)));
    EXPECT_TRUE(registry_.add_system_ram(units(64, 128)));
    EXPECT_TRUE(registry_.memremap_pages(mixed_));
    EXPECT_TRUE(registry_.memremap_pages(alone_));
  }
  ~ExplainTest() override {
    EXPECT_TRUE(registry_.memunmap_pages(mixed_, Clock::now()));
    EXPECT_TRUE(registry_.memunmap_pages(alone_, Clock::now()));
  }

  Explanation explain(uint64_t address) { return registry_.explain(Pfn::of(address)); }
  // "function: question" of the steps whose function is `function`, each with its answer.
  static std::vector<std::string> asked(const Explanation& told, const std::string& function) {
    std::vector<std::string> questions;
    for (const ExplainStep& step : told.steps) {
      if (step.function == function) questions.push_back(step.asked + (step.yes ? " yes" : " no"));
    }
    return questions;
  }

  PagemapRegistry registry_;
  DevPagemap mixed_{"mixed", MemoryType::kFsDax, units(8, 10), kUnit};
  DevPagemap alone_{
      {.name = "alone", .ranges = {units(128, 192), units(256, 257)}, .metadata_bytes = kPageSize}};
};

TEST_F(ExplainTest, EachWayThroughEndsAtTheStepThatDecides) {
  using Questions = std::vector<std::string>;
  const std::string in_range = "is the section number in range? yes";
  const std::string online = "is the section online? yes";
  const std::string subsection = "is the subsection valid? yes";
  const auto steps = [&](uint64_t address) {
    return asked(explain(address), "pfn_to_online_page");
  };
  EXPECT_EQ(asked(registry_.explain(Pfn{kPfnEnd}), "pfn_to_online_page"),
            (Questions{"is the section number in range? no"}));
  EXPECT_EQ(steps(3 * kSectionSize), (Questions{in_range, "is the section online? no"}));
  EXPECT_EQ(steps(2 * kSectionSize), (Questions{in_range, "is the section online? no"}));
  EXPECT_EQ(steps(5 * kUnit), (Questions{in_range, online, "is the subsection valid? no"}));
  EXPECT_EQ(steps(kSectionSize), (Questions{in_range, online, subsection,
                                            "may pages of a device be in the section? no"}));
  const std::string tainted = "may pages of a device be in the section? yes";
  EXPECT_EQ(steps(kUnit), (Questions{in_range, online, subsection, tainted,
                                     "does get_dev_pagemap() find one? no"}));
  EXPECT_EQ(steps(8 * kUnit), (Questions{in_range, online, subsection, tainted,
                                         "does get_dev_pagemap() find one? yes"}));
}

TEST_F(ExplainTest, VerdictsAndFlagsAgree) {
  struct Case {
    uint64_t address;
    bool valid;
    bool online;
    const char* pagemap;
    const char* verdict;
  };
  for (const Case& c : {Case{3 * kSectionSize, false, false, "", "no memory"},
                        Case{kUnit, true, true, "", "System RAM, online"},
                        Case{5 * kUnit, true, false, "", "a hole"},
                        Case{8 * kUnit, true, false, "mixed", "metadata of mixed"},
                        Case{9 * kUnit, true, false, "mixed", "a device page of mixed (fsdax)"},
                        Case{128 * kUnit, true, false, "alone", "metadata of alone"},
                        Case{129 * kUnit, true, false, "alone", "a device page of alone"},
                        Case{257 * kUnit, false, false, "", "no memory"}}) {
    SCOPED_TRACE(c.address / kUnit);
    const Explanation told = explain(c.address);
    EXPECT_EQ(told.pfn, Pfn::of(c.address));
    EXPECT_EQ(told.section, c.address / kSectionSize);
    EXPECT_EQ(told.subsection, c.address / kUnit % 64);
    EXPECT_EQ(told.pfn_valid, c.valid);
    EXPECT_EQ(told.online, c.online);
    EXPECT_EQ(told.pagemap ? told.pagemap->name : "", c.pagemap);
    EXPECT_TRUE(told.verdict.starts_with(c.verdict)) << told.verdict;
    EXPECT_EQ(told.pfn_valid, registry_.pfn_valid(told.pfn));
    EXPECT_EQ(told.online, registry_.pfn_to_online_page(told.pfn));
  }
}

TEST_F(ExplainTest, PagemapIsToldWithoutTheReferenceThatTheLookupTook) {
  auto told = explain(9 * kUnit).pagemap;
  ASSERT_TRUE(told);
  EXPECT_EQ(told->references, 0u);
  EXPECT_FALSE(told->is_dying);
  EXPECT_TRUE(told->pgmap_pfn_valid);
  const auto held = registry_.get_dev_pagemap(Pfn::of(9 * kUnit));
  EXPECT_EQ(explain(9 * kUnit).pagemap->references, 1u);
  mixed_.ref().kill();
  told = explain(9 * kUnit).pagemap;
  ASSERT_TRUE(told) << "a dying one is told of, though get_dev_pagemap() finds it no more";
  EXPECT_TRUE(told->is_dying);
  EXPECT_EQ(told->references, 1u);
  registry_.resurrect(mixed_);
}

TEST_F(ExplainTest, EarlySectionsAreValidAsAWholeDevicesBySubsection) {
  EXPECT_EQ(asked(explain(5 * kUnit), "pfn_valid").back(), "is the section early? yes");
  EXPECT_EQ(explain(5 * kUnit).steps.at(2).found,
            "there from the start: all of it counts, holes too");
  EXPECT_EQ(asked(explain(256 * kUnit), "pfn_valid").back(), "is the subsection valid? yes");
  EXPECT_EQ(asked(explain(258 * kUnit), "pfn_valid").back(), "is the subsection valid? no");
  EXPECT_EQ(asked(explain(3 * kSectionSize), "pfn_valid").back(), "is the section there? no");
}

}  // namespace
}  // namespace pmemd
