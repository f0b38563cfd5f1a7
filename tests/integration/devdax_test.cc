// The one file of a devdax namespace: what works on it, and what it refuses (docs/posix.md).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <string>

#include "core/base/unique_fd.h"
#include "core/base/units.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

constexpr off_t kSize = 62 * kMiB;  // of 64 MiB, 2 are metadata

class DevdaxTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    pool_.start();
    pool_.make_two_namespaces();
    path_ = pool_.path("dax0.1");
    fd_.reset(open(path_.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(fd_);
  }
  static int errno_of(int result) { return result == 0 ? 0 : errno; }

  TestPool pool_;
  std::string path_;
  UniqueFd fd_;
};

TEST_F(DevdaxTest, HasAFixedSize) {
  struct stat st = {};
  ASSERT_EQ(fstat(fd_.get(), &st), 0);
  EXPECT_EQ(st.st_size, kSize);
  EXPECT_EQ(errno_of(ftruncate(fd_.get(), 4096)), EINVAL);
  EXPECT_EQ(errno_of(ftruncate(fd_.get(), kSize)), 0);
  EXPECT_EQ(errno_of(unlink(path_.c_str())), EPERM);
  EXPECT_EQ(errno_of(fallocate(fd_.get(), 0, 0, kSize)), 0);
  EXPECT_EQ(errno_of(fallocate(fd_.get(), 0, 4096, kSize)), ENODEV);
  EXPECT_EQ(errno_of(fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096)),
            ENODEV);
  EXPECT_EQ(lseek(fd_.get(), 4096, SEEK_DATA), 4096);
  EXPECT_EQ(lseek(fd_.get(), 0, SEEK_HOLE), kSize);
}

TEST_F(DevdaxTest, ReadsAndWritesUpToItsEnd) {
  const std::array<char, 4> bytes = {'p', 'm', 'e', 'm'};
  std::array<char, 8> found{};
  EXPECT_EQ(pwrite(fd_.get(), bytes.data(), bytes.size(), kSize - 2), 2);
  EXPECT_EQ(pread(fd_.get(), found.data(), found.size(), kSize - 2), 2);
  EXPECT_EQ(std::string(found.data(), 2), "pm");
  EXPECT_EQ(pread(fd_.get(), found.data(), found.size(), kSize), 0);
  EXPECT_EQ(pwrite(fd_.get(), bytes.data(), bytes.size(), kSize), -1);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_EQ(errno_of(fsync(fd_.get())), 0);
}

TEST_F(DevdaxTest, MappingAndDescriptorLiveAgainAfterARemoval) {
  void* mapped = mmap(nullptr, kMiB, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  auto* const word = static_cast<volatile uint64_t*>(mapped);
  *word = 1700;
  pool_.ctl_json({"disable-namespace", "namespace0.1", "--force"});
  char byte = 0;
  EXPECT_EQ(pread(fd_.get(), &byte, 1, 2 * kMiB), -1);
  EXPECT_EQ(errno, ENXIO);
  EXPECT_EQ(open(path_.c_str(), O_RDWR | O_CLOEXEC), -1);
  EXPECT_EQ(errno, ENOENT);
  struct stat st = {};
  EXPECT_EQ(errno_of(fstat(fd_.get(), &st)), 0);
  pool_.ctl_json({"enable-namespace", "namespace0.1"});
  EXPECT_EQ(*word, 1700U);
  EXPECT_EQ(pread(fd_.get(), &byte, 1, 2 * kMiB), 1);
  munmap(mapped, kMiB);
}

TEST_F(DevdaxTest, ModeAndOwnerCanBeChangedAsOfADeviceNode) {
  struct stat st = {};
  ASSERT_EQ(stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode, S_IFREG | 0600U);
  EXPECT_EQ(errno_of(fchmod(fd_.get(), 0640)), 0);
  EXPECT_EQ(errno_of(fchown(fd_.get(), 1, 2)), 0);
  ASSERT_EQ(stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode, S_IFREG | 0640U);
  EXPECT_EQ(st.st_uid, 1U);
  EXPECT_EQ(st.st_gid, 2U);
}

}  // namespace
}  // namespace pmemd
