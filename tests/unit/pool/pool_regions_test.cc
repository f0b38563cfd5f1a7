// Regions of an open pool, destroyed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/pool/pool.h"
#include "tests/unit/pool/pool_fixture.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kSize = 16 * kMiB;
constexpr uint64_t kSmall = 4 * kMiB;
constexpr RegionRange kBad = {kMiB, kMiB + kSectorSize};

// region0, full; region1 and region2, empty.
class PoolRegions : public PoolFixture {
 protected:
  PoolRegions() {
    pool_ = create_pool(kSize);
    for (int i = 0; i < 2; ++i) create_region();
  }

  RegionRecord create_region() { return must(pool_->create_region(kSize, Reservation::kSparse)); }
  NamespaceRecord create_in(uint32_t region) {
    return must(pool_->create_namespace({.region = region, .size_bytes = kSmall}));
  }
  Result<void> destroy(uint32_t region, const std::vector<uint64_t>& serials = {}) {
    return pool_->destroy_region(RegionRecord{.id = region}, serials);
  }
  void make_bad(uint32_t region) {
    EXPECT_TRUE(pool_->media_errors(region)->inject({kBad}, {kBad}));
  }
  bool has_image(uint32_t region) const {
    return std::filesystem::exists(path_ + "/" + RegionRecord{.id = region}.name() + ".img");
  }
  std::vector<std::string> regions() const { return names(pool_->regions()); }
};

TEST_F(PoolRegions, ADestroyedOneIsGoneWithItsImageAndItsIdAndAddressesAreFree) {
  const RegionRecord region = *pool_->region(1);
  ASSERT_TRUE(destroy(1));
  EXPECT_THAT(regions(), ElementsAre("region0", "region2"));
  EXPECT_FALSE(has_image(1));
  EXPECT_EQ(pool_->media_errors(1), nullptr);
  EXPECT_EQ(pool_->create_namespace({.region = 1}).err(), ENOENT);
  EXPECT_THAT(findings(*pool_), IsEmpty());
  reopen();
  EXPECT_THAT(regions(), ElementsAre("region0", "region2"));

  const RegionRecord next = create_region();
  EXPECT_EQ(next.name(), "region1") << "the lowest free id";
  EXPECT_EQ(next.base_address, region.base_address);
  EXPECT_THAT(regions(), ElementsAre("region0", "region1", "region2"));
  create_in(1);
  EXPECT_THAT(findings(*pool_), IsEmpty());
  reopen();
  EXPECT_THAT(regions(), ElementsAre("region0", "region1", "region2"));
}

TEST_F(PoolRegions, TheLastOneMayGo) {
  ASSERT_TRUE(destroy(0, {pool_->namespaces().at(0).serial}));
  ASSERT_TRUE(destroy(1));
  ASSERT_TRUE(destroy(2));
  reopen();
  EXPECT_THAT(regions(), IsEmpty());
  EXPECT_THAT(findings(*pool_), IsEmpty());
  EXPECT_EQ(create_region().name(), "region0");
}

TEST_F(PoolRegions, OneThatIsNotThereIsEnoent) {
  EXPECT_EQ(destroy(3).err(), ENOENT);
  ASSERT_TRUE(destroy(2));
  EXPECT_EQ(destroy(2).err(), ENOENT);
}

TEST_F(PoolRegions, NamespacesGoWithItIfAllAreNamed) {
  const auto first = create_in(1), second = create_in(1), other = create_in(2);
  const auto missing = destroy(1, {first.serial});
  EXPECT_EQ(missing.err(), EBUSY);
  EXPECT_EQ(missing.error().message, "region1: namespace1.1 is in it");
  EXPECT_TRUE(pool_->find_namespace(first.name())) << "nothing has happened";
  ASSERT_TRUE(destroy(1, {first.serial, second.serial, other.serial}));
  EXPECT_FALSE(pool_->find_namespace(first.name()));
  EXPECT_TRUE(pool_->find_namespace(other.name())) << "of another region";
  EXPECT_THAT(findings(*pool_), IsEmpty());
}

TEST_F(PoolRegions, OneWithALegOfAVolumeIsEbusyAndNamesTheVolume) {
  const auto plain = create_in(1), leg = create_in(1);
  ASSERT_TRUE(pool_->create_volume(VolumeType::kLinear, 0, {leg.serial}));
  const auto destroyed = destroy(1, {plain.serial, leg.serial});
  EXPECT_EQ(destroyed.err(), EBUSY);
  EXPECT_EQ(destroyed.error().message, "region1: namespace1.1 is a leg of volume0");
  EXPECT_EQ(destroyed.error().hint, "pmemctl destroy-volume volume0");
  EXPECT_TRUE(pool_->find_namespace(plain.name())) << "nothing has happened";
  EXPECT_EQ(create_in(1).name(), "namespace1.2") << "nor is it closed";
}

// Who makes a namespace has its place before anything else.
TEST_F(PoolRegions, OneInWhichANamespaceIsBeingMadeIsEbusy) {
  ASSERT_TRUE(FaultPoint::arm("create.info-block", {.delay = std::chrono::minutes(9)}));
  std::thread maker([&] { create_in(1); });
  while (pool_->available(1).total_bytes == kSize) std::this_thread::yield();
  const auto destroyed = destroy(1);
  EXPECT_EQ(destroyed.err(), EBUSY);
  EXPECT_EQ(destroyed.error().message, "region1: namespace1.0 is being made or destroyed");
  FaultPoint::disarm_all();
  maker.join();
  EXPECT_TRUE(pool_->find_namespace("namespace1.0"));
}

// While it stands before its first change.
TEST_F(PoolRegions, NobodyGetsAPlaceInOneThatIsBeingDestroyed) {
  ASSERT_TRUE(FaultPoint::arm("destroy-region.mark", {.delay = std::chrono::minutes(9)}));
  std::thread destroyer([&] { EXPECT_EQ(destroy(1).err(), 0); });
  const auto stalls = [] {
    for (const auto& info : FaultPoint::list()) {
      if (info.name == "destroy-region.mark") return info.hits != 0;
    }
    return false;
  };
  while (!stalls()) std::this_thread::yield();
  EXPECT_EQ(pool_->create_namespace({.region = 1}).err(), ENOENT);
  EXPECT_EQ(destroy(1).err(), ENOENT) << "it is on its way already";
  const auto anywhere = pool_->create_namespace({});
  ASSERT_TRUE(anywhere) << anywhere.error().describe();
  EXPECT_EQ(anywhere->name(), "namespace2.0");
  FaultPoint::disarm_all();
  destroyer.join();
  EXPECT_THAT(regions(), ElementsAre("region0", "region2"));
}

TEST_F(PoolRegions, BadBytesGoWithIt) {
  make_bad(1);
  const auto held = pool_->media_errors(1);  // by somebody who looks, or was about to inject
  ASSERT_TRUE(destroy(1));
  EXPECT_TRUE(held->is_bad(kBad));
  EXPECT_EQ(held->inject({kBad}, {kBad}).err(), ENOENT);
  EXPECT_EQ(held->uninject({kBad}).err(), ENOENT);
  EXPECT_THAT(findings(*pool_), IsEmpty()) << "no row of a region that isn't there";
  create_region();
  EXPECT_FALSE(pool_->media_errors(1)->is_bad({0, kSize}));
  reopen();
  EXPECT_FALSE(pool_->media_errors(1)->is_bad({0, kSize}));
}

TEST_F(PoolRegions, AFailedStepLeavesItWholeOrGoneAndTheNextChangeEndsIt) {
  for (const char* const step :
       {"destroy-region.mark", "destroy-region.image", "destroy-region.label"}) {
    SCOPED_TRACE(step);
    make_bad(1);
    ASSERT_TRUE(FaultPoint::arm(step, {}));
    const auto destroyed = destroy(1);
    EXPECT_EQ(destroyed.err(), EIO);
    EXPECT_THAT(findings(*pool_), IsEmpty());
    if (std::string_view(step) == "destroy-region.mark") {
      EXPECT_TRUE(pool_->media_errors(1)->is_bad(kBad));
      EXPECT_TRUE(pool_->media_errors(1)->uninject({kBad})) << "it can be changed as before";
      ASSERT_TRUE(pool_->destroy_namespace(create_in(1)));
      ASSERT_TRUE(destroy(1));
    } else {
      EXPECT_THAT(destroyed.error().message, HasSubstr("region1: destroyed, but its image"));
    }
    EXPECT_THAT(regions(), ElementsAre("region0", "region2"));
    EXPECT_EQ(create_region().name(), "region1");
    EXPECT_THAT(findings(*pool_), IsEmpty());
  }
}

TEST_F(PoolRegions, ANamespaceThatCannotBeErasedKeepsIt) {
  const auto first = create_in(1), second = create_in(1);
  const std::vector<uint64_t> serials = {first.serial, second.serial};
  ASSERT_TRUE(FaultPoint::arm("destroy.zero", {}));
  EXPECT_EQ(destroy(1, serials).err(), EIO);
  EXPECT_THAT(regions(), ElementsAre("region0", "region1", "region2"));
  EXPECT_FALSE(pool_->find_namespace(first.name())) << "gone for good";
  EXPECT_TRUE(pool_->find_namespace(second.name()));
  EXPECT_THAT(findings(*pool_), IsEmpty());
  ASSERT_TRUE(destroy(1, serials));
  EXPECT_FALSE(has_image(1));
}

// Its id isn't free before its image is gone; nor does that keep others from the pool.
TEST_F(PoolRegions, AnImageThatCannotBeRemovedKeepsTheIdAlsoOverAnOpen) {
  const std::string image = path_ + "/region1.img";
  ASSERT_TRUE(std::filesystem::remove(image));
  ASSERT_TRUE(std::filesystem::create_directory(image));
  EXPECT_EQ(destroy(1).err(), EISDIR);
  EXPECT_THAT(regions(), ElementsAre("region0", "region2"));
  EXPECT_EQ(create_region().name(), "region3");
  reopen();
  EXPECT_THAT(regions(), ElementsAre("region0", "region2", "region3"));
  ASSERT_TRUE(std::filesystem::remove(image));
  EXPECT_EQ(create_region().name(), "region1");
  EXPECT_THAT(findings(*pool_), IsEmpty());
}

// What `check` has seen at its moment may be gone when it looks at the images.
TEST_F(PoolRegions, ACheckFindsNothingInARegionThatGoesMeanwhile) {
  const auto view = PoolView::open(*pool_);
  ASSERT_TRUE(view);
  ASSERT_TRUE(destroy(1));
  const auto found = check_regions(**view);
  ASSERT_TRUE(found) << found.error().describe();
  EXPECT_TRUE(found->empty()) << found->front().object << ": " << found->front().problem;
}

}  // namespace
}  // namespace pmemd
