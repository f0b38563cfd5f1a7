// What others put where the daemon works: pools, sockets and mount points of somebody else's,
// daemons on the same mount point, file systems over ours.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <csignal>
#include <filesystem>
#include <list>
#include <vector>

#include "core/base/mount_table.h"
#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

namespace stdfs = std::filesystem;

constexpr uid_t kOther = 65534;

class NeighboursTest : public MountTest {
 protected:
  // From the lowest to the topmost one.
  static std::vector<std::string> types_at(const std::string& path) {
    std::vector<std::string> types;
    for (const MountInfo& mount : read_mount_table()) {
      if (mount.point == path) types.push_back(mount.type);
    }
    return types;
  }
  std::vector<std::string> types() const { return types_at(pool_.mount()); }

  std::string make_directory(const std::string& name, uid_t owner) const {
    const std::string path = pool_.directory() + "/" + name;
    EXPECT_EQ(mkdir(path.c_str(), 0755), 0);
    EXPECT_EQ(chown(path.c_str(), owner, owner), 0);
    return path;
  }
  void cover(const char* type = "tmpfs", int flags = 0) const {
    ASSERT_EQ(::mount("cover", pool_.mount().c_str(), type, flags, nullptr), 0);
  }
  // Ends the daemon; its exit code.
  int end_daemon() {
    pool_.daemon().signal(SIGTERM);
    return pool_.daemon().wait();
  }
  void expect_refusal(const DaemonOptions& options, const std::string& path) {
    const Output output = pool_.start_and_fail(options);
    EXPECT_EQ(output.code, 1);
    EXPECT_THAT(output.err, AllOf(HasSubstr(path), HasSubstr(fmt::format("uid {}", kOther)),
                                  HasSubstr("chown")));
    EXPECT_FALSE(is_mount_point(pool_.mount()));
  }
  void TearDown() override {
    if (has_own_device_) umount2("/dev/fuse", MNT_DETACH);
  }
  void start_together(int daemons, const std::function<void()>& before_exec = {});
  bool let_user_mount();

  TestPool pool_;
  bool has_own_device_ = false;
};

// --- paths

TEST_F(NeighboursTest, RootsDaemonLeavesAPoolOfSomebodyElseAlone) {
  const std::string theirs = make_directory("theirs", kOther);
  const std::string pool = theirs + "/pool";
  expect_refusal({.pool = pool}, theirs);
  ASSERT_EQ(mkdir(pool.c_str(), 0755), 0);
  write_file(pool_.directory() + "/precious", "precious");
  ASSERT_EQ(symlink("../../precious", (pool + "/lock").c_str()), 0);
  expect_refusal({.pool = pool}, theirs);
  write_file(pool + "/pool.db", "");
  expect_refusal({.pool = pool}, theirs);
  const Output check = run({program("pmemd"), "--check", "--pool", pool});
  EXPECT_EQ(check.code, 1);
  EXPECT_THAT(check.err, HasSubstr(theirs));
  EXPECT_EQ(read_file(pool_.directory() + "/precious"), "precious");
}

TEST_F(NeighboursTest, RootsDaemonUsesNoMountPointAndNoSocketOfSomebodyElse) {
  const std::string theirs = make_directory("theirs", kOther);
  ASSERT_EQ(mkdir((theirs + "/mnt").c_str(), 0755), 0);
  expect_refusal({.mount = theirs}, theirs);
  expect_refusal({.mount = theirs + "/mnt"}, theirs);
  EXPECT_FALSE(stdfs::exists(pool_.pool())) << "nothing is made before the mount point is good";
  expect_refusal({.socket = theirs + "/control"}, theirs);
  EXPECT_FALSE(is_mount_point(theirs) || is_mount_point(theirs + "/mnt"));
  EXPECT_FALSE(stdfs::exists(theirs + "/control"));
}

// --- one mount point

// Each with a pool and a socket of its own. One serves, the others say who does, and leave its
// mount.
void NeighboursTest::start_together(int daemons, const std::function<void()>& before_exec) {
  struct Started {
    std::string log;
    Process process;
  };
  static int round = 0;
  ++round;
  std::list<Started> all;
  for (int i = 0; i < daemons; ++i) {
    const std::string base = fmt::format("{}/{}.{}", pool_.directory(), round, i);
    const UniqueFd log(open((base + ".log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    all.push_back(
        {base + ".log", Process({.args = {program("pmemd"), "--foreground", "--create=32M",
                                          "--sparse", "--pool=" + base, "--mount=" + pool_.mount(),
                                          "--socket=" + base + ".socket"},
                                 .err = log.get(),
                                 .before_exec = before_exec})});
  }
  while (all.size() > 1) {
    std::vector<pollfd> ends;
    for (const Started& one : all) ends.push_back({one.process.pidfd(), POLLIN, 0});
    constexpr std::chrono::milliseconds kWait = 2 * kPatience;
    ASSERT_GT(poll(ends.data(), ends.size(), static_cast<int>(kWait.count())), 0)
        << all.size() << " daemons serve";
    std::erase_if(all, [](Started& one) {
      if (one.process.running()) return false;
      EXPECT_EQ(one.process.wait(), 1);
      EXPECT_THAT(read_file(one.log), HasSubstr("mounted there"));
      return true;
    });
  }
  ASSERT_EQ(all.size(), 1u) << "nobody serves";
  EXPECT_EQ(types(), std::vector<std::string>{"fuse.pmemd"});
  const RunOptions as_user{.before_exec = before_exec};
  EXPECT_EQ(run({"stat", pool_.mount()}, as_user).code, 0) << "it isn't served";
  all.front().process.signal(SIGTERM);
  EXPECT_EQ(all.front().process.wait(), 0) << read_file(all.front().log);
  EXPECT_EQ(types(), std::vector<std::string>{});
}

TEST_F(NeighboursTest, OfDaemonsStartedTogetherOneServes) {
  for (int round = 0; round < 5; ++round) start_together(4);
}

TEST_F(NeighboursTest, OfDaemonsThatFindADeadMountOneServes) {
  for (int round = 0; round < 3; ++round) {
    pool_.start({.create = "32M"});
    pool_.kill9();
    start_together(4);
  }
}

// They go without the lock, after some seconds, and look at what they have done.
TEST_F(NeighboursTest, WhoeverKeepsTheLockStopsNobodyAndOneServes) {
  const UniqueFd held(open(pool_.directory().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(flock(held.get(), LOCK_EX), 0);
  start_together(4);
}

TEST_F(NeighboursTest, WhoIsMountedIsSaidWithItsPid) {
  pool_.start({.create = "32M"});
  const std::string other = pool_.directory() + "/other";
  const Output second = pool_.start_and_fail({.pool = other, .socket = other + ".socket"});
  EXPECT_EQ(second.code, 1);
  EXPECT_THAT(second.err, HasSubstr(fmt::format("pmemd with pid {}", pool_.daemon().pid())));
}

// In another namespace the same directory is another mount point.
TEST_F(NeighboursTest, AnotherMountNamespaceIsNoNeighbour) {
  pool_.start({.create = "32M", .before_exec = [] {
                 if (unshare(CLONE_NEWNS) != 0) _exit(99);
               }});
  EXPECT_FALSE(is_mount_point(pool_.mount()));
  start_together(2);
  EXPECT_EQ(end_daemon(), 0);
}

// --- the end

TEST_F(NeighboursTest, NothingOfOursKeepsTheMountBusy) {
  pool_.start({.create = "32M"});
  ASSERT_EQ(umount2(pool_.mount().c_str(), 0), 0);
  EXPECT_EQ(pool_.daemon().wait(), 0) << "nothing is left to serve";
}

TEST_F(NeighboursTest, WhatIsMountedOverItStaysAndNothingOfOursIsLeft) {
  pool_.start({.create = "32M"});
  write_file(pool_.path("pmem0/a"), pattern(1, kMiB));
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  ASSERT_EQ(client.ask("fill 0 5"), "ok");
  const std::string stored = client.ask("hash 0");
  cover();
  write_file(pool_.mount() + "/theirs", "one");
  cover();
  write_file(pool_.mount() + "/theirs", "two");
  EXPECT_EQ(end_daemon(), 0) << pool_.log();
  EXPECT_EQ(types(), (std::vector<std::string>{"tmpfs", "tmpfs"}));
  EXPECT_EQ(read_file(pool_.mount() + "/theirs"), "two");
  ASSERT_EQ(umount2(pool_.mount().c_str(), MNT_DETACH), 0);
  EXPECT_EQ(read_file(pool_.mount() + "/theirs"), "one");
  ASSERT_EQ(umount2(pool_.mount().c_str(), MNT_DETACH), 0);

  pool_.start({.create = ""});
  Client again;
  again.map_file(pool_.path("pmem0/a"), kMiB);
  EXPECT_EQ(again.ask("hash 0"), stored) << "what was stored is there, though it was covered";
}

TEST_F(NeighboursTest, WhatCannotBeMountedAgainStaysAndTheExitCodeTellsOfOurs) {
  pool_.start({.create = "32M"});
  cover();
  ASSERT_EQ(::mount(nullptr, pool_.mount().c_str(), nullptr, MS_UNBINDABLE, nullptr), 0);
  write_file(pool_.mount() + "/theirs", "theirs");
  EXPECT_EQ(end_daemon(), 1);
  EXPECT_THAT(pool_.log(), AllOf(HasSubstr(pool_.mount() + ": a mount of this daemon is left"),
                                 HasSubstr("another file system is mounted over it")));
  EXPECT_EQ(types(), (std::vector<std::string>{"fuse.pmemd", "tmpfs"}));
  EXPECT_EQ(read_file(pool_.mount() + "/theirs"), "theirs");
  ASSERT_EQ(umount2(pool_.mount().c_str(), MNT_DETACH), 0);
  pool_.start({.create = ""});
  pool_.stop();
}

TEST_F(NeighboursTest, ABindMountOfOursThatIsLeftIsTold) {
  pool_.start({.create = "32M"});
  const std::string other = make_directory("bind", 0);
  ASSERT_EQ(::mount(pool_.mount().c_str(), other.c_str(), nullptr, MS_BIND, nullptr), 0);
  EXPECT_EQ(end_daemon(), 1);
  EXPECT_THAT(pool_.log(), HasSubstr(other + ": a mount of this daemon is left"));
  EXPECT_FALSE(is_mount_point(pool_.mount()));
}

// --- without root

// A device of its own for everybody; false: can't be had.
bool NeighboursTest::let_user_mount() {
  if (run({"sh", "-c", "command -v fusermount3"}).code != 0) return false;
  const std::string node = pool_.directory() + "/fuse";
  if (mknod(node.c_str(), S_IFCHR | 0666, makedev(10, 229)) != 0 ||
      chmod(node.c_str(), 0666) != 0 ||
      ::mount(node.c_str(), "/dev/fuse", nullptr, MS_BIND, nullptr) != 0) {
    return false;
  }
  has_own_device_ = true;
  for (const std::string& path : {pool_.directory(), pool_.mount()}) {
    if (chown(path.c_str(), kOther, kOther) != 0) return false;
  }
  return static_cast<bool>(UniqueFd(open("/dev/fuse", O_RDWR | O_CLOEXEC)));
}

void become_other() {
  if (setresgid(kOther, kOther, kOther) != 0 || setresuid(kOther, kOther, kOther) != 0) _exit(99);
}

TEST_F(NeighboursTest, OfAnOrdinaryUsersDaemonsOneServes) {
  if (!let_user_mount()) GTEST_SKIP() << "no fusermount3, or no device nodes in the test's place";
  start_together(4, become_other);
  for (int round = 0; round < 3; ++round) {
    pool_.start({.create = "32M", .before_exec = become_other});
    pool_.kill9();
    start_together(4, become_other);
  }
}

TEST_F(NeighboursTest, AnOrdinaryUsersDaemonCannotUncoverItsMountAndSaysSo) {
  if (!let_user_mount()) GTEST_SKIP() << "no fusermount3, or no device nodes in the test's place";
  pool_.start({.create = "32M", .before_exec = become_other});
  cover();
  write_file(pool_.mount() + "/theirs", "theirs");
  EXPECT_EQ(end_daemon(), 1);
  EXPECT_THAT(pool_.log(), HasSubstr(pool_.mount() + ": a mount of this daemon is left"));
  EXPECT_EQ(types(), (std::vector<std::string>{"fuse.pmemd", "tmpfs"}));
  EXPECT_EQ(read_file(pool_.mount() + "/theirs"), "theirs");
  ASSERT_EQ(umount2(pool_.mount().c_str(), MNT_DETACH), 0);
  pool_.start({.create = "", .before_exec = become_other});
  pool_.stop();
}

}  // namespace
}  // namespace pmemd
