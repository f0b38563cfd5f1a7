#include "daemon/host/memory_cgroup.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/base/units.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd {
namespace {

class MemoryCgroupTest : public ::testing::Test {
 protected:
  void put(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = dir_.path() + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text << '\n';
  }
  std::optional<uint64_t> limit() const { return memory_cgroup_limit(dir_.path()); }

  const TemporaryDirectory dir_{TemporaryDirectory::Place::kInMemory};
};

TEST_F(MemoryCgroupTest, WithoutGroupsThereIsNone) { EXPECT_EQ(limit(), std::nullopt); }

TEST_F(MemoryCgroupTest, OfVersion2IsTheLeastOfMaxAndHighAndOfTheGroupsAbove) {
  put("/proc/self/cgroup", "0::/a/b.service");
  EXPECT_EQ(limit(), std::nullopt);
  put("/sys/fs/cgroup/a/b.service/memory.max", "max");
  EXPECT_EQ(limit(), std::nullopt);
  put("/sys/fs/cgroup/a/b.service/memory.max", std::to_string(4 * kGiB));
  EXPECT_EQ(limit(), 4 * kGiB);
  put("/sys/fs/cgroup/a/b.service/memory.high", std::to_string(3 * kGiB));
  EXPECT_EQ(limit(), 3 * kGiB);
  put("/sys/fs/cgroup/a/memory.max", std::to_string(2 * kGiB));
  EXPECT_EQ(limit(), 2 * kGiB);
  put("/sys/fs/cgroup/c/memory.max", std::to_string(kGiB));
  EXPECT_EQ(limit(), 2 * kGiB) << "another group's";
}

TEST_F(MemoryCgroupTest, OfVersion1IsTheMemoryControllers) {
  put("/proc/self/cgroup", "5:cpu,cpuacct:/x\n4:blkio,memory:/y\n1:name=memory:/x\n0::/x");
  put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
  EXPECT_EQ(limit(), std::nullopt) << "unlimited";
  put("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", std::to_string(kMiB));
  EXPECT_EQ(limit(), std::nullopt) << "another controller's group";
  put("/sys/fs/cgroup/memory/y/memory.limit_in_bytes", std::to_string(120 * kMiB));
  EXPECT_EQ(limit(), 120 * kMiB);
}

// Its /sys/fs/cgroup begins at the group, and its path is the host's.
TEST_F(MemoryCgroupTest, OfAContainerIsAtTheTop) {
  put("/proc/self/cgroup", "4:memory:/docker/0123");
  put("/sys/fs/cgroup/memory/memory.limit_in_bytes", std::to_string(64 * kMiB));
  EXPECT_EQ(limit(), 64 * kMiB);
}

}  // namespace
}  // namespace pmemd
