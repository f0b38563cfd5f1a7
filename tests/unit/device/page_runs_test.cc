#include "core/device/page_runs.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "core/base/units.h"

namespace pmemd {
namespace {

TEST(PageRuns, NeighboursOnBothSidesMerge) {
  PageRuns runs;
  runs.insert({0, 100, 10});
  runs.insert({20, 120, 10});
  runs.insert({10, 110, 10});
  EXPECT_EQ(runs.count(), 1U);
  EXPECT_EQ(runs.first_in(FileRange{0, 1000}), (PageRun{0, 100, 30}));
}

TEST(PageRuns, NeighboursOnOneSideDoNot) {
  PageRuns runs;
  runs.insert({0, 100, 10});
  runs.insert({10, 90, 10});
  runs.insert({30, 110, 10});
  EXPECT_EQ(runs.count(), 3U);
  EXPECT_EQ(runs.first_in(DataRange{0, 1000}), (PageRun{10, 90, 10}));
}

TEST(PageRuns, LookupsAreClipped) {
  PageRuns runs;
  runs.insert({10, 100, 10});
  EXPECT_EQ(runs.first_in(FileRange{12, 15}), (PageRun{12, 102, 3}));
  EXPECT_EQ(runs.first_in(DataRange{95, 105}), (PageRun{10, 100, 5}));
  EXPECT_EQ(runs.first_in(FileRange{20, 30}), std::nullopt);
  EXPECT_EQ(runs.first_in(FileRange{0, 10}), std::nullopt);
  EXPECT_EQ(runs.first_in(FileRange{15, 15}), std::nullopt);
}

TEST(PageRuns, EraseSplits) {
  PageRuns runs;
  runs.insert({0, 100, 30});
  runs.erase({10, 110, 10});
  EXPECT_EQ(runs.count(), 2U);
  EXPECT_EQ(runs.bytes(), 20U);
  EXPECT_EQ(runs.first_in(FileRange{5, 30}), (PageRun{5, 105, 5}));
  EXPECT_EQ(runs.first_in(DataRange{110, 130}), (PageRun{20, 120, 10}));
}

TEST(PageRunsDeathTest, APageIsOnlyInOneRun) {
  PageRuns runs;
  runs.insert({0, 100, 10});
  EXPECT_DEATH(runs.insert({5, 200, 1}), "first_in");
  EXPECT_DEATH(runs.insert({50, 105, 1}), "first_in");
  EXPECT_DEATH(runs.erase({5, 100, 1}), "part.device");
}

// Random runs go in and out; a map of single pages must say the same.
TEST(PageRuns, MatchesAMapOfPages) {
  constexpr unsigned kSeed = 20240611;
  SCOPED_TRACE(kSeed);
  constexpr uint64_t kPages = 64;
  std::mt19937 random(kSeed);
  const auto below = [&](uint64_t end) { return random() % end; };
  PageRuns runs;
  std::map<uint64_t, uint64_t> model;  // file page → device page
  for (int round = 0; round < 20'000; ++round) {
    const uint64_t file = below(kPages);
    const uint64_t length = 1 + below(std::min<uint64_t>(6, kPages - file));
    if (below(2) == 0) {
      const uint64_t device = below(kPages - length + 1);
      const bool taken = runs.first_in(FileRange::sized(file, length)).has_value() ||
                         runs.first_in(DataRange::sized(device, length)).has_value();
      if (taken) continue;
      runs.insert({file, device, length});
      for (uint64_t i = 0; i < length; ++i) model[file + i] = device + i;
    } else if (const auto found = runs.first_in(FileRange::sized(file, length))) {
      runs.erase(*found);
      for (uint64_t i = 0; i < found->length; ++i) {
        ASSERT_EQ(model.at(found->file + i), found->device + i);
        model.erase(found->file + i);
      }
    }
    ASSERT_EQ(runs.bytes(), model.size());
    uint64_t expected_runs = 0;
    for (uint64_t page = 0; page < kPages; ++page) {
      const auto at = model.find(page);
      const auto found = runs.first_in(FileRange::sized(page, 1));
      ASSERT_EQ(found.has_value(), at != model.end());
      if (!found) continue;
      ASSERT_EQ(found->device, at->second);
      ASSERT_EQ(runs.first_in(DataRange::sized(at->second, 1))->file, page);
      const auto before = model.find(page - 1);
      if (before == model.end() || before->second + 1 != at->second) ++expected_runs;
    }
    ASSERT_EQ(runs.count(), expected_runs);
  }
}

}  // namespace
}  // namespace pmemd
