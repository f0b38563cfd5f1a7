#include "daemon/host/dirty_limits.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>

#include "tests/unit/temporary_directory.h"

namespace pmemd {
namespace {

class DirtyLimitsTest : public testing::Test {
 protected:
  DirtyLimitsTest() {
    set("dirty_ratio", "20");
    set("dirty_background_ratio", "10");
    set("dirty_bytes", "0");
    set("dirty_background_bytes", "0");
  }
  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }
  void set(const std::string& name, const std::string& value) {
    std::ofstream(path(name)) << value << '\n';
  }
  std::string get(const std::string& name) const {
    std::string value;
    std::ifstream(path(name)) >> value;
    return value;
  }
  Result<std::unique_ptr<RaisedDirtyLimits>> raise() const {
    return RaisedDirtyLimits::raise(directory_.path());
  }

  const TemporaryDirectory directory_;
};

TEST_F(DirtyLimitsTest, AreRaisedAndGivenBack) {
  {
    const auto raised = raise();
    ASSERT_TRUE(raised);
    EXPECT_EQ(get("dirty_ratio"), "60");
    EXPECT_EQ(get("dirty_background_ratio"), "40");
  }
  EXPECT_EQ(get("dirty_ratio"), "20");
  EXPECT_EQ(get("dirty_background_ratio"), "10");
}

TEST_F(DirtyLimitsTest, WhatIsHigherStays) {
  set("dirty_ratio", "80");
  {
    const auto raised = raise();
    EXPECT_EQ(get("dirty_ratio"), "80");
    EXPECT_EQ(get("dirty_background_ratio"), "40");
  }
  EXPECT_EQ(get("dirty_ratio"), "80");
  EXPECT_EQ(get("dirty_background_ratio"), "10");
}

TEST_F(DirtyLimitsTest, WhatSomebodyHasChangedMeanwhileStays) {
  {
    const auto raised = raise();
    set("dirty_background_ratio", "33");
  }
  EXPECT_EQ(get("dirty_ratio"), "20");
  EXPECT_EQ(get("dirty_background_ratio"), "33");
}

TEST_F(DirtyLimitsTest, LimitsInBytesStay) {
  set("dirty_background_bytes", "1048576");
  EXPECT_EQ(raise().err(), EBUSY);
  EXPECT_EQ(get("dirty_ratio"), "20");
}

TEST_F(DirtyLimitsTest, WhatCantBeReadIsAnError) {
  set("dirty_ratio", "many");
  EXPECT_EQ(raise().err(), EIO);
}

TEST_F(DirtyLimitsTest, WhereTheyCantBeWrittenNothingStaysRaised) {
  const std::string missing = path("dirty_background_ratio");
  // A directory can be read from by nobody, and written by nobody.
  ASSERT_EQ(::unlink(missing.c_str()), 0);
  ASSERT_EQ(::mkdir(missing.c_str(), 0700), 0);
  EXPECT_EQ(raise().err(), EIO);
  EXPECT_EQ(get("dirty_ratio"), "20");
  ASSERT_EQ(::rmdir(missing.c_str()), 0);
}

TEST(HostDirtyLimits, TheKernelTellsOne) { EXPECT_GT(host_dirty_background_bytes(), 0u); }

}  // namespace
}  // namespace pmemd
