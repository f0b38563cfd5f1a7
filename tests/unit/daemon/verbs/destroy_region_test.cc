// DestroyRegion, without a kernel.
#include <gtest/gtest.h>

#include <string>

#include "core/base/fault.h"
#include "tests/unit/daemon/verbs/verbs_machine.h"

namespace pmemd::test {
namespace {

class DestroyRegion : public testing::Test {
 protected:
  ~DestroyRegion() override { FaultPoint::disarm_all(); }

  VerbsMachine::Answer destroy(const std::string& region, bool force) {
    return machine_.call("DestroyRegion", {{"region", region}, {"force", force}});
  }
  void expect_refused(const std::string& region, bool force, const std::string& message) {
    const std::string before = machine_.state() + machine_.outline();
    const auto answer = destroy(region, force);
    EXPECT_EQ(answer.err, EBUSY) << answer.message;
    EXPECT_EQ(answer.parameters.value("message", ""), message);
    EXPECT_EQ(machine_.state() + machine_.outline(), before) << "nothing has happened";
  }
  bool has_region(const std::string& name) {
    return machine_.machine().pool.find_region(name).has_value();
  }

  VerbsMachine machine_;
};

TEST_F(DestroyRegion, AnEmptyOneGoesWithoutForce) {
  EXPECT_EQ(destroy("region2", false).err, 0);
  EXPECT_FALSE(has_region("region2"));
  EXPECT_EQ(destroy("region2", false).err, ENOENT);
  EXPECT_EQ(machine_.call("BadBlocks", {{"object", "region2"}}).err, ENOENT);
  EXPECT_EQ(machine_.findings(), "[]");
}

TEST_F(DestroyRegion, OneWithNamespacesWantsForce) {
  expect_refused("region3", false, "region3: namespace3.0 is in it");
  expect_refused("region1", false, "region1: 3 namespaces are in it, the first is namespace1.0");
  const DevicePtr held = *machine_.machine().devices.find("namespace1.0");
  EXPECT_EQ(destroy("region1", true).err, 0);
  EXPECT_FALSE(has_region("region1"));
  EXPECT_TRUE(machine_.machine().devices.of_region(1).empty());
  EXPECT_TRUE(held->memory().errors(DeviceMemory::ErrorKind::kKnown, {0, kPageSize}).empty())
      << "who found it before may still look";
  EXPECT_EQ(machine_.findings(), "[]");
}

TEST_F(DestroyRegion, OneWithDisabledNamespacesWantsForceToo) {
  ASSERT_EQ(machine_.call("DisableNamespace", {{"namespace", "namespace3.0"}}).err, 0);
  expect_refused("region3", false, "region3: namespace3.0 is in it");
  EXPECT_EQ(destroy("region3", true).err, 0);
  EXPECT_FALSE(has_region("region3"));
}

TEST_F(DestroyRegion, OneWithALegOfAVolumeIsRefusedAlsoByForce) {
  expect_refused("region5", true, "region5: namespace5.0 is a leg of volume0");
  ASSERT_EQ(machine_.call("DestroyVolume", {{"volume", "volume0"}, {"force", true}}).err, 0);
  EXPECT_EQ(destroy("region5", true).err, 0);
}

TEST_F(DestroyRegion, OneUnderAnotherOperationIsRefused) {
  auto& devices = machine_.machine().devices;
  const auto operation = devices.begin_operation({*devices.find("namespace1.1")});
  const auto answer = destroy("region1", true);
  EXPECT_EQ(answer.err, EBUSY) << answer.message;
  EXPECT_TRUE(has_region("region1"));
}

TEST_F(DestroyRegion, AScrubEndsWithIt) {
  ASSERT_EQ(machine_.call("StartScrub", {{"object", "region2"}, {"rate", 1}}).err, 0);
  EXPECT_EQ(destroy("region2", false).err, 0);
  EXPECT_TRUE(machine_.machine().scrubber.status().empty());
  machine_.wait_for_scrubs();
}

// What is left of it is only its image, whose id nobody else gets.
TEST_F(DestroyRegion, OneWhoseImageStaysIsGoneAllTheSame) {
  ASSERT_EQ(machine_.call("StartScrub", {{"object", "region2"}}).err, 0);
  machine_.wait_for_scrubs();
  ASSERT_EQ(machine_.call("FailAt", {{"step", "destroy-region.image"}}).err, 0);
  const auto answer = destroy("region2", false);
  EXPECT_EQ(answer.err, EIO);
  EXPECT_NE(answer.message.find("region2: destroyed, but its image is still there"),
            std::string::npos)
      << answer.message;
  EXPECT_FALSE(has_region("region2"));
  EXPECT_TRUE(machine_.machine().scrubber.status().empty());
  EXPECT_EQ(machine_.findings(), "[]");
}

}  // namespace
}  // namespace pmemd::test
