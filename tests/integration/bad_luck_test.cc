// What bad input and bad luck get: a message that names object and cause, a proper exit code, and
// nothing lost.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include <filesystem>
#include <map>

#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

namespace stdfs = std::filesystem;

class BadLuckTest : public MountTest {
 protected:
  // The pool's files that hold something, by name.
  std::map<std::string, std::string> pool_files() const {
    std::map<std::string, std::string> files;
    for (const char* name : {"pool.db", "pool.db-wal", "region0.img"}) {
      const std::string path = pool_.pool() + "/" + name;
      if (stdfs::exists(path)) files[name] = read_file(path);
    }
    return files;
  }

  void make_pool(const std::string& size = "32M") {
    pool_.start({.create = size});
    write_file(pool_.path("pmem0/a"), "precious");
    pool_.stop();
  }

  void expect_precious_file() {
    pool_.start({.create = ""});
    EXPECT_EQ(read_file(pool_.path("pmem0/a")), "precious");
    pool_.expect_check_passes();
  }

  // The daemon refuses the pool, says why, and leaves it as it is.
  void expect_refusal(const DaemonOptions& options,
                      const ::testing::Matcher<const std::string&>& message) {
    const auto before = pool_files();
    const Output output = pool_.start_and_fail(options);
    EXPECT_EQ(output.code, 1);
    EXPECT_THAT(output.err, message);
    EXPECT_TRUE(pool_files() == before) << "the pool was touched";
    EXPECT_FALSE(is_mount_point(pool_.mount()));
  }

  void overwrite(const std::string& name, off_t offset, const std::string& bytes) const {
    const UniqueFd fd(open((pool_.pool() + "/" + name).c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(pwrite(fd.get(), bytes.data(), bytes.size(), offset),
              static_cast<ssize_t>(bytes.size()));
  }

  TestPool pool_;
};

// --- pool and mount point

TEST_F(BadLuckTest, PoolInUse) {
  pool_.start({.create = "32M"});
  const std::string other = pool_.directory() + "/other";
  ASSERT_EQ(mkdir(other.c_str(), 0755), 0);
  const Output second = pool_.start_and_fail({.mount = other, .socket = other + ".socket"});
  EXPECT_EQ(second.code, 1);
  EXPECT_THAT(second.err, AllOf(HasSubstr(pool_.pool()), HasSubstr("in use"),
                                HasSubstr(std::to_string(pool_.daemon().pid()))));
  const Output check = run({program("pmemd"), "--check", "--pool", pool_.pool()});
  EXPECT_EQ(check.code, 1);
  EXPECT_THAT(check.err, HasSubstr("in use"));
  write_file(pool_.path("pmem0/a"), "still served");
}

TEST_F(BadLuckTest, NoPoolAndNoCreate) {
  expect_refusal({.create = ""}, AllOf(HasSubstr(pool_.pool()), HasSubstr("--create")));
  EXPECT_FALSE(stdfs::exists(pool_.pool()));
}

TEST_F(BadLuckTest, MountPointMissingOrNotADirectoryOrAbovePool) {
  make_pool();
  const std::string missing = pool_.directory() + "/missing";
  expect_refusal({.mount = missing}, AllOf(HasSubstr(missing), HasSubstr("make the directory")));
  const std::string file = pool_.directory() + "/file";
  write_file(file, "");
  expect_refusal({.mount = file}, AllOf(HasSubstr(file), HasSubstr("not a directory")));
  expect_refusal({.mount = pool_.directory()}, HasSubstr("pool"));
  expect_precious_file();
}

TEST_F(BadLuckTest, MountPointWithFilesIsRefusedUnlessTheyMayBeHidden) {
  const std::string file = pool_.mount() + "/work";
  write_file(file, "of days");
  const auto refused = AllOf(HasSubstr("mount point " + pool_.mount() + ": not empty: work"),
                             HasSubstr("--nonempty"));
  expect_refusal({.create = "32M"}, refused);
  EXPECT_FALSE(stdfs::exists(pool_.pool())) << "nothing is made before the mount point is good";

  const std::vector<std::string> nonempty = {"--nonempty"};
  pool_.start({.create = "32M", .args = nonempty});
  EXPECT_FALSE(stdfs::exists(file)) << "hidden";
  pool_.kill9();
  expect_refusal({.create = ""}, refused);
  pool_.start({.create = "", .args = nonempty});
  pool_.stop();
  EXPECT_EQ(read_file(file), "of days");
}

// What a mount there holds would be hidden, too.
TEST_F(BadLuckTest, MountPointOnWhichAFileSystemWithFilesLiesIsRefused) {
  ASSERT_EQ(::mount("tmpfs", pool_.mount().c_str(), "tmpfs", 0, "mode=0755"), 0);
  pool_.start({.create = "32M"});
  pool_.daemon().signal(SIGTERM);
  EXPECT_EQ(pool_.daemon().wait(), 0);
  write_file(pool_.mount() + "/work", "of days");
  const Output output = pool_.start_and_fail({.create = ""});
  EXPECT_EQ(output.code, 1);
  EXPECT_THAT(output.err, HasSubstr("not empty: work"));
  ASSERT_EQ(umount2(pool_.mount().c_str(), MNT_DETACH), 0);
}

TEST_F(BadLuckTest, MountPointServedByAnotherDaemon) {
  pool_.start({.create = "32M"});
  const std::string other = pool_.directory() + "/other_pool";
  const Output second =
      pool_.start_and_fail({.create = "32M", .pool = other, .socket = other + ".socket"});
  EXPECT_EQ(second.code, 1);
  EXPECT_THAT(second.err, HasSubstr(pool_.mount()));
  EXPECT_FALSE(stdfs::exists(other)) << "nothing is made before the mount point is good";
  write_file(pool_.path("pmem0/a"), "still served");
}

TEST_F(BadLuckTest, MountOfAKilledDaemonIsTakenOver) {
  make_pool();
  pool_.start();
  const UniqueFd held(open(pool_.path("pmem0/a").c_str(), O_RDONLY | O_CLOEXEC));
  pool_.kill9();
  EXPECT_TRUE(is_mount_point(pool_.mount()));
  expect_precious_file();
  char byte = 0;
  EXPECT_EQ(pread(held.get(), &byte, 1, 0), -1) << "a descriptor of the dead mount stays dead";
  pool_.stop();
}

TEST_F(BadLuckTest, SocketOfALiveDaemonIsNotTaken) {
  pool_.start({.create = "32M"});
  const std::string other = pool_.directory() + "/other";
  ASSERT_EQ(mkdir(other.c_str(), 0755), 0);
  const Output second =
      pool_.start_and_fail({.create = "32M", .pool = other + ".pool", .mount = other});
  EXPECT_EQ(second.code, 1);
  EXPECT_THAT(second.err, HasSubstr(pool_.socket()));
  EXPECT_FALSE(is_mount_point(other));
  EXPECT_EQ(pool_.ctl_json({"status"}).at("pid"), pool_.daemon().pid());
}

// --- damage

TEST_F(BadLuckTest, MetadataCorrupt) {
  make_pool();
  const auto sound = pool_files();
  overwrite("pool.db", 0, std::string(64, '\x5a'));
  expect_refusal({.create = ""}, HasSubstr("pool.db"));
  overwrite("pool.db", 0, sound.at("pool.db"));
  overwrite("pool.db", 4096, std::string(8192, '\x5a'));
  expect_refusal({.create = ""}, HasSubstr("pool.db"));
  const Output check = run({program("pmemd"), "--check", "--pool", pool_.pool()});
  EXPECT_EQ(check.code, 1);
  overwrite("pool.db", 0, sound.at("pool.db"));
  expect_precious_file();
}

TEST_F(BadLuckTest, MetadataOfANewerVersion) {
  make_pool();
  const auto sound = pool_files();
  constexpr off_t kUserVersion = 60;  // in SQLite's header, big endian
  overwrite("pool.db", kUserVersion, std::string("\0\0\0\x63", 4));
  expect_refusal({.create = ""}, AllOf(HasSubstr("99"), HasSubstr("newer")));
  expect_refusal({.create = "64M"}, HasSubstr("newer"));
  overwrite("pool.db", 0, sound.at("pool.db"));
  expect_precious_file();
}

TEST_F(BadLuckTest, MetadataOfAnOlderVersionIsUpgradedAndTheLogSaysSo) {
  make_pool();
  overwrite("pool.db", 60, std::string("\0\0\0\3", 4));
  pool_.start({.create = "", .log_level = "info"});
  EXPECT_THAT(pool_.log(), HasSubstr("pool " + pool_.pool() + ": upgraded from format version 3"));
  pool_.stop();
  const std::string log = pool_.log();
  pool_.start({.create = "", .log_level = "info"});
  EXPECT_THAT(pool_.log().substr(log.size()), Not(HasSubstr("upgraded")));
}

TEST_F(BadLuckTest, ImageMissingOrShort) {
  make_pool();
  const std::string image = pool_.pool() + "/region0.img";
  stdfs::rename(image, image + ".away");
  expect_refusal({.create = ""}, HasSubstr("region0.img"));
  stdfs::rename(image + ".away", image);
  const std::string whole = read_file(image);
  ASSERT_EQ(truncate(image.c_str(), 16 * kMiB), 0);
  expect_refusal({.create = ""}, AllOf(HasSubstr("region0.img"), HasSubstr("16")));
  write_file(image, whole);
  expect_precious_file();
}

TEST_F(BadLuckTest, InfoBlockDamagedIsFoundByCheckAndOthersWork) {
  pool_.start({.create = "64M"});
  pool_.ctl_json({"destroy-namespace", "namespace0.0", "--force"});
  pool_.ctl_json({"create-namespace", "--size", "32M"});
  pool_.ctl_json({"create-namespace", "--size", "32M"});
  write_file(pool_.path("pmem0.1/a"), "other");
  pool_.stop();
  overwrite("region0.img", 4096, std::string(4096, '\x5a'));
  const Output check = run({program("pmemd"), "--check", "--pool", pool_.pool()});
  EXPECT_EQ(check.code, 1);
  EXPECT_THAT(check.out + check.err, HasSubstr("namespace0.0"));
  pool_.start({.create = ""});
  EXPECT_EQ(read_file(pool_.path("pmem0.1/a")), "other");
  const Output enable = pool_.ctl({"enable-namespace", "namespace0.0"});
  EXPECT_EQ(enable.code, 1);
  EXPECT_THAT(enable.err, HasSubstr("namespace0.0"));
}

// --- names, sizes, sockets

TEST_F(BadLuckTest, UnknownNamesAndSizesThatDoNotFit) {
  pool_.start({.create = "32M"});
  const auto refused = [&](std::vector<std::string> args, int code, const std::string& word) {
    const Output output = pool_.ctl(std::move(args));
    EXPECT_EQ(output.code, code) << output.err;
    EXPECT_THAT(output.err, HasSubstr(word));
    EXPECT_EQ(output.out, "");
  };
  refused({"enable-namespace", "namespace9.9"}, 1, "namespace9.9");
  refused({"disable-namespace", "namespace9.9", "--force"}, 1, "namespace9.9");
  refused({"destroy-namespace", "nonsense"}, 1, "nonsense");
  refused({"disable-region", "region7"}, 1, "region7");
  refused({"mappers", "namespace0.3"}, 1, "namespace0.3");
  refused({"create-namespace", "--region", "region7"}, 1, "region7");
  refused({"create-namespace", "--size", "16M"}, 1, "0");
  refused({"create-namespace", "--mode", "magic"}, 2, "magic");
  refused({"create-namespace", "--size", "many"}, 2, "many");
  refused({"create-region", "--size", "3M"}, 1, "2");
  refused({"create-region"}, 2, "--size");
  refused({"no-such-verb"}, 2, "no-such-verb");
  refused({}, 2, "");
  pool_.ctl_json({"destroy-namespace", "namespace0.0", "--force"});
  refused({"create-namespace", "--size", "1T"}, 1, "32 MiB");
  refused({"create-namespace", "--size", "17M"}, 1, "2");
  pool_.expect_check_passes();
}

TEST_F(BadLuckTest, SocketThatNobodyServes) {
  const Output nobody = pool_.ctl({"list"});
  EXPECT_EQ(nobody.code, 1);
  EXPECT_THAT(nobody.err, AllOf(HasSubstr(pool_.socket()), HasSubstr("no daemon")));
  make_pool();
  pool_.start();
  pool_.kill9();
  EXPECT_EQ(pool_.ctl({"list"}).code, 1);
  expect_precious_file();  // the socket of the dead daemon is in nobody's way
}

TEST_F(BadLuckTest, NoiseOnTheSocket) {
  pool_.start({.create = "32M"});
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    pool_.socket().copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    std::string noise = pattern(seed, 200'000);
    if (seed % 2 == 0) noise.assign(200'000, '{');
    (void)send(fd.get(), noise.data(), noise.size(), MSG_NOSIGNAL);
  }
  EXPECT_EQ(pool_.ctl_json({"status"}).at("namespaces"), 1);
}

TEST_F(BadLuckTest, NoFuseDevice) {
  make_pool();
  const Output output = pool_.start_and_fail(
      {.create = "", .before_exec = [] {
         // An empty /dev, for the daemon alone.
         if (unshare(CLONE_NEWNS) != 0 || ::mount("none", "/dev", "tmpfs", 0, nullptr) != 0) {
           _exit(99);
         }
       }});
  EXPECT_EQ(output.code, 1);
  EXPECT_THAT(output.err, HasSubstr("/dev/fuse"));
  EXPECT_FALSE(is_mount_point(pool_.mount()));
  expect_precious_file();
}

// --- the end in the middle of things

TEST_F(BadLuckTest, SigtermInTheMiddleOfARemoval) {
  pool_.start({.create = "32M"});
  write_file(pool_.path("pmem0/a"), "precious");
  write_file(pool_.path("pmem0/mapped"), pattern(1, kMiB));
  Client client;
  client.map_file(pool_.path("pmem0/mapped"), kMiB);
  ASSERT_EQ(client.ask("fill 0 5"), "ok");
  const std::string stored = client.ask("hash 0");
  Conversation monitor(pool_.ctl_args({"--json", "monitor"}));
  while (pool_.ctl_json({"status"}).at("subscribers") == 0) {
  }
  Conversation removal(
      pool_.ctl_args({"disable-namespace", "namespace0.0", "--force", "--grace=10m"}));
  EXPECT_THAT(monitor.receive(), HasSubstr("pre-remove"));  // now it waits for the client
  pool_.stop();
  EXPECT_EQ(client.ask("load 0 0"), "sigbus 2 0");
  expect_precious_file();
  Client again;
  again.map_file(pool_.path("pmem0/mapped"), kMiB);
  EXPECT_EQ(again.ask("hash 0"), stored);
}

// Ends come at any time after the start; each is clean.
TEST_F(BadLuckTest, SigtermRightAfterTheStart) {
  for (int i = 0; i < 10; ++i) {
    pool_.start({.create = "32M"});
    pool_.stop();
  }
  pool_.expect_check_passes();
}

// --- without root

TEST_F(BadLuckTest, AnOrdinaryUserRunsItAllWithFusermount) {
  constexpr uid_t kUser = 65534;
  if (run({"sh", "-c", "command -v fusermount3"}).code != 0) GTEST_SKIP() << "no fusermount3";
  const std::string node = pool_.directory() + "/fuse";
  ASSERT_EQ(mknod(node.c_str(), S_IFCHR | 0666, makedev(10, 229)), 0);
  ASSERT_EQ(chmod(node.c_str(), 0666), 0);
  ASSERT_EQ(::mount(node.c_str(), "/dev/fuse", nullptr, MS_BIND, nullptr), 0);
  if (const UniqueFd fuse(open("/dev/fuse", O_RDWR | O_CLOEXEC)); !fuse) {
    GTEST_SKIP() << "device nodes don't work in " << pool_.directory();
  }
  for (const std::string& path : {pool_.directory(), pool_.mount()}) {
    ASSERT_EQ(chown(path.c_str(), kUser, kUser), 0);
  }
  const auto become_user = [] {
    if (setresgid(kUser, kUser, kUser) != 0 || setresuid(kUser, kUser, kUser) != 0) _exit(99);
  };
  const RunOptions as_user{.before_exec = become_user};
  // It may hold files, or not.
  ASSERT_EQ(chmod(pool_.mount().c_str(), 0300), 0);
  const Output unreadable = pool_.start_and_fail({.create = "64M", .before_exec = become_user});
  EXPECT_EQ(unreadable.code, 1);
  EXPECT_THAT(unreadable.err, AllOf(HasSubstr("mount point " + pool_.mount()),
                                    HasSubstr("Permission denied"), HasSubstr("--nonempty")));
  pool_.start({.create = "64M", .args = {"--nonempty"}, .before_exec = become_user});
  pool_.stop();
  ASSERT_EQ(chmod(pool_.mount().c_str(), 0755), 0);

  pool_.start({.create = "64M", .before_exec = become_user});
  run_ok({"sh", "-c", "head -c 1048576 /dev/zero > " + pool_.path("pmem0/a")}, as_user);
  Client client(become_user);
  client.map_file(pool_.path("pmem0/a"), kMiB);
  ASSERT_EQ(client.ask("fill 0 5"), "ok");
  const std::string stored = client.ask("hash 0");
  const Json report = Json::parse(
      run_ok(pool_.ctl_args({"--json", "disable-namespace", "namespace0.0", "--force"}), as_user));
  EXPECT_EQ(report.at("holders").at(0).at("pid"), client.pid());
  EXPECT_EQ(client.ask("load 0 0"), "sigbus 2 0");
  run_ok(pool_.ctl_args({"enable-namespace", "namespace0.0"}), as_user);
  EXPECT_EQ(client.ask("hash 0"), stored);
  ASSERT_EQ(client.ask("close 0"), "ok");
  ASSERT_EQ(client.ask("unmap 0"), "ok");
  pool_.stop();
  pool_.start({.create = "", .before_exec = become_user});
  pool_.kill9();
  pool_.start({.create = "", .before_exec = become_user});
  EXPECT_EQ(pool_.ctl_json({"status"}).at("privileged"), false);
  pool_.stop();
}

}  // namespace
}  // namespace pmemd
