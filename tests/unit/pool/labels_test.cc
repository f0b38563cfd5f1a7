// Names, placement, and the rules that labels must keep.
#include "core/pool/labels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/pool/placement.h"
#include "core/pool/schema.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Records, HaveTheNamesThatNdctlAndTheKernelGive) {
  EXPECT_EQ((RegionRecord{.id = 3}).name(), "region3");
  NamespaceRecord record;
  record.region = 1;
  EXPECT_EQ(record.name(), "namespace1.0");
  EXPECT_EQ(record.device_name(), "pmem1");
  record.id = 2;
  EXPECT_EQ(record.device_name(), "pmem1.2");
  record.mode = NamespaceMode::kDevDax;
  EXPECT_EQ(record.device_name(), "dax1.2");
  record.id = 0;
  EXPECT_EQ(record.device_name(), "dax1.0");
  record.mode = NamespaceMode::kPrivate;
  EXPECT_EQ(record.device_name(), "hmm1.0");
  record.mode = NamespaceMode::kP2p;
  EXPECT_EQ(record.device_name(), "p2p1.0");
}

TEST(Records, ModesAreParsedAsTheyAreWritten) {
  EXPECT_EQ(parse_namespace_mode("fsdax").value(), NamespaceMode::kFsDax);
  EXPECT_EQ(parse_namespace_mode("devdax").value(), NamespaceMode::kDevDax);
  EXPECT_EQ(parse_namespace_mode("private").value(), NamespaceMode::kPrivate);
  EXPECT_EQ(parse_namespace_mode("p2p").value(), NamespaceMode::kP2p);
  EXPECT_EQ(parse_namespace_mode("FSDAX").err(), EINVAL);
  EXPECT_EQ(parse_namespace_mode("").err(), EINVAL);
}

TEST(Placement, TakesTheFirstExtentWithRoomOrTheLargest) {
  const std::vector<RegionRange> free = {
      {0, 4 * kMiB}, {10 * kMiB, 30 * kMiB}, {40 * kMiB, 48 * kMiB}};
  const auto at = [](uint64_t begin, uint64_t end) {
    return RegionRange{begin * kMiB, end * kMiB};
  };
  EXPECT_EQ(place(free, 4 * kMiB, 2 * kMiB), at(0, 4));
  EXPECT_EQ(place(free, 6 * kMiB, 2 * kMiB), at(10, 16));
  EXPECT_EQ(place(free, 20 * kMiB, 2 * kMiB), at(10, 30));
  EXPECT_EQ(place(free, 22 * kMiB, 2 * kMiB), std::nullopt);
  EXPECT_EQ(place(free, {}, 2 * kMiB), at(10, 30));
  EXPECT_EQ(place(free, {}, 16 * kMiB), at(16, 30));
  EXPECT_EQ(place(free, 16 * kMiB, 16 * kMiB), std::nullopt);
  EXPECT_EQ(place(free, {}, 64 * kMiB), at(0, 4));
  EXPECT_EQ(place({{2 * kMiB, 4 * kMiB}}, {}, 2 * kMiB), std::nullopt);  // too small for any
  EXPECT_EQ(place({}, {}, 2 * kMiB), std::nullopt);
}

TEST(Placement, SizesAreMultiplesOf2MiBOfAtLeast4MiB) {
  EXPECT_EQ(check_size("x", 4 * kMiB).err(), 0);
  EXPECT_EQ(check_size("x", 6 * kMiB).err(), 0);
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, 2 * kMiB, 4 * kMiB + 1, UINT64_MAX}) {
    EXPECT_EQ(check_size("x", size).err(), EINVAL) << size;
  }
  const auto bad = check_size("region1", 5 * kMiB);
  EXPECT_THAT(bad.error().message, HasSubstr("region1"));
  EXPECT_THAT(bad.error().hint, HasSubstr("6291456"));
}

TEST(Placement, AlignsArePowersOfTwoOfAtLeast2MiB) {
  EXPECT_EQ(check_align(2 * kMiB).err(), 0);
  EXPECT_EQ(check_align(kGiB).err(), 0);
  for (const uint64_t align : {uint64_t{0}, kMiB, 6 * kMiB, UINT64_MAX, uint64_t{1} << 63}) {
    EXPECT_EQ(check_align(align).err(), EINVAL) << align;
  }
}

class LabelsTest : public ::testing::Test {
 protected:
  LabelsTest() {
    labels_.regions.push_back(
        {{.id = 0, .size_bytes = 64 * kMiB, .base_address = kFirstRegionBase}, true});
    labels_.regions.push_back(
        {{.id = 1, .size_bytes = 64 * kMiB, .base_address = kFirstRegionBase + kGiB}, true});
    add(0, 0, {0, 8 * kMiB});
    add(0, 1, {16 * kMiB, 64 * kMiB});
    add(1, 0, {0, 64 * kMiB});
  }
  void add(uint32_t region, uint32_t id, RegionRange range) {
    NamespaceRecord record;
    record.region = region;
    record.id = id;
    record.serial = labels_.namespaces.size() + 1;
    record.uuid = make_uuid();
    record.range = range;
    labels_.namespaces.push_back({record, true});
  }
  RegionRecord& region(size_t index) { return labels_.regions[index].record; }
  NamespaceRecord& space(size_t index) { return labels_.namespaces[index].record; }
  std::vector<std::string> objects() const {
    std::vector<std::string> names;
    for (const auto& [object, problem] : check_labels(labels_)) names.push_back(object);
    return names;
  }

  Labels labels_;
};

TEST_F(LabelsTest, GoodLabelsHaveNoFindings) {
  EXPECT_THAT(objects(), IsEmpty());
  region(1).base_address = 0;  // anywhere, in any order
  EXPECT_THAT(objects(), IsEmpty());
  region(1).base_address = kFirstRegionBase + 64 * kMiB;
  EXPECT_THAT(objects(), IsEmpty());
}

TEST_F(LabelsTest, FreeExtentsAreWhatNoNamespaceTakesLiveOrNot) {
  labels_.namespaces[0].live = false;
  EXPECT_THAT(labels_.free_extents(region(0)), ElementsAre(RegionRange{8 * kMiB, 16 * kMiB}));
  EXPECT_THAT(labels_.free_extents(region(1)), IsEmpty());
  labels_.namespaces.clear();
  EXPECT_THAT(labels_.free_extents(region(1)), ElementsAre(RegionRange{0, 64 * kMiB}));
}

TEST_F(LabelsTest, EachRuleThatIsBrokenIsFound) {
  const Labels good = labels_;
  const auto expect = [&](const char* object, const std::function<void()>& breaking) {
    breaking();
    EXPECT_THAT(objects(), ElementsAre(object));
    labels_ = good;
  };
  expect("region1", [&] { region(1).size_bytes += kMiB; });
  expect("region1", [&] { region(1).base_address += kMiB; });
  expect("region1", [&] { region(1).base_address = kFirstRegionBase + 62 * kMiB; });
  expect("region1", [&] { region(1).base_address = kFirstRegionBase; });
  expect("region1", [&] { region(1).base_address = kPhysicalAddressEnd; });
  expect("namespace7.0", [&] { space(0).region = 7; });
  expect("namespace0.0", [&] { space(0).uuid = "none"; });
  expect("namespace1.0", [&] { space(2).uuid = space(0).uuid; });
  expect("namespace0.0", [&] { space(0).serial = 0; });
  expect("namespace1.0", [&] { space(2).serial = kSerialEnd; });
  expect("namespace1.0", [&] { space(2).serial = space(0).serial; });
  expect("namespace1.0", [&] { labels_.regions[1].live = false; });  // it would go with it
  expect("namespace0.0", [&] { space(0).range.end = 2 * kMiB; });
  expect("namespace0.0", [&] { space(0).range.end = 9 * kMiB; });
  expect("namespace1.0", [&] { space(2).range.end = 66 * kMiB; });
  expect("namespace1.0", [&] { space(2).range = {8 * kMiB, 0}; });
  expect("namespace0.1", [&] { space(0).range.end = 18 * kMiB; });
}

}  // namespace
}  // namespace pmemd
