// The host's disk is full: whoever wanted space is told, the daemon lives, and what was there
// stays.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <filesystem>

#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

namespace stdfs = std::filesystem;

class DiskFullTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_EQ(mkdir(disk_.c_str(), 0755), 0);
    ASSERT_EQ(::mount("tmpfs", disk_.c_str(), "tmpfs", 0, "mode=0755,size=24M"), 0);
  }
  void TearDown() override {
    if (HasFailure()) return;
    if (!IsSkipped()) pool_.expect_check_passes();
  }

  void start() { pool_.start({.create = "64M", .pool = pool_.pool(), .env = {}}); }

  // Takes all of the disk that is left, down to the last page.
  void fill_disk() const {
    const UniqueFd fd(open(filler().c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600));
    const std::string page(4096, 'f');
    while (write(fd.get(), page.data(), page.size()) > 0) {
    }
    EXPECT_EQ(errno, ENOSPC);
  }
  void free_disk() const { stdfs::remove(filler()); }
  std::string filler() const { return disk_ + "/filler"; }

  TestPool pool_;
  const std::string disk_ = pool_.directory() + "/pool";  // the pool lies on a small tmpfs
};

TEST_F(DiskFullTest, AtCreationNothingIsLeftBehind) {
  const std::string sub = disk_ + "/p";
  const Output output = pool_.start_and_fail({.create = "64M", .sparse = false, .pool = sub});
  EXPECT_EQ(output.code, 1);
  EXPECT_THAT(output.err, AllOf(HasSubstr(sub), HasSubstr("No space left on device")));
  EXPECT_TRUE(!stdfs::exists(sub) || stdfs::is_empty(sub));
  EXPECT_FALSE(is_mount_point(pool_.mount()));
  start();
  const Output region = pool_.ctl({"create-region", "--size", "64M"});
  EXPECT_EQ(region.code, 1);
  EXPECT_THAT(region.err, HasSubstr("No space left on device"));
  EXPECT_FALSE(stdfs::exists(disk_ + "/region1.img"));
}

TEST_F(DiskFullTest, WritersToASparsePoolGetEnospcAndGoOnWhenThereIsSpace) {
  start();
  write_file(pool_.path("pmem0/before"), pattern(1, kMiB));
  const UniqueFd fd(open(pool_.path("pmem0/big").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  const std::string piece = pattern(2, 256 * kKiB);
  off_t written = 0;
  ssize_t put = 0;
  while ((put = pwrite(fd.get(), piece.data(), piece.size(), written)) > 0) written += put;
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_GT(written, static_cast<off_t>(16 * kMiB));
  EXPECT_LT(written, static_cast<off_t>(24 * kMiB));
  struct stat st = {};
  ASSERT_EQ(fstat(fd.get(), &st), 0);
  EXPECT_GE(st.st_size, written);
  EXPECT_EQ(read_file(pool_.path("pmem0/before")), pattern(1, kMiB));
  EXPECT_EQ(fallocate(fd.get(), 0, 0, 48 << 20), -1);
  EXPECT_EQ(errno, ENOSPC);

  ASSERT_EQ(ftruncate(fd.get(), 0), 0);
  EXPECT_EQ(pwrite(fd.get(), piece.data(), piece.size(), 0), static_cast<ssize_t>(piece.size()));
  EXPECT_EQ(fsync(fd.get()), 0);
}

TEST_F(DiskFullTest, StoresThatFindNoSpaceAreToldAtMsync) {
  start();
  write_file(pool_.path("pmem0/hole"), "");
  ASSERT_EQ(truncate(pool_.path("pmem0/hole").c_str(), kMiB), 0);
  Client client;
  client.map_file(pool_.path("pmem0/hole"), kMiB);
  fill_disk();
  ASSERT_EQ(client.ask("store 0 0 1"), "ok");
  EXPECT_THAT(client.ask("msync 0"), HasSubstr("error E"));
  free_disk();
  ASSERT_EQ(client.ask("store 0 0 2"), "ok");
  EXPECT_EQ(client.ask("msync 0"), "ok");
  EXPECT_EQ(client.ask("load 0 0"), "ok 2");
}

// Who stored by a mapping and never calls msync learns it from nobody but us.
TEST_F(DiskFullTest, StoresThatAreLostAreAnEventAndALineInTheLog) {
  start();
  write_file(pool_.path("pmem0/hole"), "");
  ASSERT_EQ(truncate(pool_.path("pmem0/hole").c_str(), kMiB), 0);
  Conversation monitor(pool_.ctl_args({"--json", "monitor", "--since", "0", "-k", "no-space"}));
  Client client;
  client.map_file(pool_.path("pmem0/hole"), kMiB);
  fill_disk();
  ASSERT_EQ(client.ask("store 0 65536 1"), "ok");
  EXPECT_THAT(client.ask("msync 0"), HasSubstr("error E"));
  const Json event = Json::parse(monitor.receive());
  EXPECT_EQ(event.at("namespace"), "namespace0.0");
  EXPECT_EQ(event.at("file"), "/pmem0/hole");
  EXPECT_LE(event.at("file_offset"), 65536);
  EXPECT_GE(event.at("file_offset").get<uint64_t>() + event.at("file_length").get<uint64_t>(),
            65536 + kPageSize);
  EXPECT_THAT(pool_.log(), AllOf(HasSubstr("/pmem0/hole"), HasSubstr("No space left on device")));
  free_disk();
}

// Metadata finds no space: SQLite's log can't grow.
TEST_F(DiskFullTest, MetadataChangesFailWholeAndWorkAgain) {
  start();
  write_file(pool_.path("pmem0/before"), "before");
  fill_disk();
  int made = 0, error = 0;
  for (; made < 10'000; ++made) {
    const std::string path = pool_.path(fmt::format("pmem0/{}", made));
    if (mkdir(path.c_str(), 0755) == 0) continue;
    error = errno;
    break;
  }
  EXPECT_EQ(error, ENOSPC);
  for (int i = 0; i < made; ++i) {
    ASSERT_TRUE(stdfs::is_directory(pool_.path(fmt::format("pmem0/{}", i)))) << i;
  }
  EXPECT_FALSE(stdfs::exists(pool_.path(fmt::format("pmem0/{}", made))));
  EXPECT_EQ(read_file(pool_.path("pmem0/before")), "before");
  EXPECT_EQ(pool_.ctl_json({"status"}).at("enabled"), 1);
  free_disk();
  EXPECT_EQ(mkdir(pool_.path("pmem0/after").c_str(), 0755), 0);
  EXPECT_EQ(stdfs::remove(pool_.path("pmem0/before")), true);
}

TEST_F(DiskFullTest, RemovalWithNoSpaceLeftEndsAndEnablesAgain) {
  start();
  write_file(pool_.path("pmem0/a"), pattern(3, kMiB));
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  ASSERT_EQ(client.ask("fill 0 7"), "ok");  // into space that is there
  const std::string stored = client.ask("hash 0");
  fill_disk();
  pool_.ctl({"disable-namespace", "namespace0.0", "--force"});
  EXPECT_EQ(client.ask("load 0 0"), "sigbus 2 0");
  free_disk();
  pool_.ctl({"disable-namespace", "namespace0.0", "--force"});  // if the first one failed
  pool_.ctl_json({"enable-namespace", "namespace0.0"});
  EXPECT_EQ(client.ask("hash 0"), stored);
}

TEST_F(DiskFullTest, TheEndWithNoSpaceLeftKeepsWhatWasThere) {
  start();
  write_file(pool_.path("pmem0/a"), "precious");
  fill_disk();
  pool_.daemon().signal(SIGTERM);
  pool_.daemon().wait();
  free_disk();
  pool_.start({.create = ""});
  EXPECT_EQ(read_file(pool_.path("pmem0/a")), "precious");
}

}  // namespace
}  // namespace pmemd
