// A private namespace through the mount: pages go to the device and come back when they are
// touched.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>

#include <filesystem>
#include <optional>

#include "client/pmemd_ioctl.h"
#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::HasSubstr;

class PrivateTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    pool_.start();
    pool_.make_two_namespaces();
    const Json made = pool_.ctl_json({"create-namespace", "--mode", "private", "--size", "16M"});
    EXPECT_EQ(made.at("mode"), "private");
    EXPECT_EQ(made.at("chardev"), "hmm0.2");
    client_.emplace();
    client_->map_file(pool_.path("hmm0.2"), kMiB);
    ASSERT_EQ(client_->ask("random 0"), "ok");
  }
  Json refs() { return pool_.ctl_json({"refs", "namespace0.2"}); }
  uint64_t pages_out() { return refs().at("pages").get<uint64_t>(); }

  TestPool pool_;
  std::optional<Client> client_;
};

TEST_F(PrivateTest, ATouchBringsOnePageBackAndItsReferenceGoes) {
  ASSERT_EQ(client_->ask("store 0 0 11"), "ok");
  ASSERT_EQ(client_->ask("store 0 4096 22"), "ok");
  ASSERT_EQ(client_->ask("store 0 8192 33"), "ok");
  ASSERT_EQ(client_->ask("migrate 0 0 65536"), "ok 16");
  EXPECT_EQ(client_->ask("present 0"), "ok 0") << "the CPU can't touch them";
  EXPECT_EQ(pages_out(), 16u);
  EXPECT_EQ(refs().at("held"), 16);
  EXPECT_EQ(client_->ask("load 0 4096"), "ok 22");
  EXPECT_EQ(pages_out(), 15u);
  EXPECT_EQ(client_->ask("store 0 0 12"), "ok");
  EXPECT_EQ(client_->ask("load 0 0"), "ok 12");
  EXPECT_EQ(pages_out(), 14u);
  EXPECT_EQ(refs().at("held"), 14);
  EXPECT_EQ(refs().at("unaccounted"), 0);
  EXPECT_EQ(client_->ask("migrate 0 0 65536"), "ok 2");
  EXPECT_EQ(client_->ask("pread 0 8192"), "ok 33") << "a read is a touch";
  EXPECT_LT(pages_out(), 16u);
}

TEST_F(PrivateTest, EachErrno) {
  EXPECT_EQ(client_->ask("migrate 0 0 0"), "error EINVAL");
  EXPECT_EQ(client_->ask("migrate 0 1 4096"), "error EINVAL");
  EXPECT_EQ(client_->ask("migrate 0 0 4095"), "error EINVAL");
  EXPECT_EQ(client_->ask("migrate 0 0 1099511627776"), "error EINVAL");
  EXPECT_EQ(client_->ask("pin 0 0 4096"), "error EOPNOTSUPP");
  EXPECT_EQ(client_->ask("alloc 0 4096"), "error ENOTTY");
  EXPECT_EQ(client_->ask("free 0 0"), "error ENOTTY");
  EXPECT_EQ(client_->ask("open " + pool_.path("dax0.1") + " rw"), "ok 1");
  EXPECT_EQ(client_->ask("migrate 1 0 4096"), "error ENOTTY");
  pool_.ctl_json({"disable-namespace", "namespace0.2", "--force"});
  EXPECT_EQ(client_->ask("migrate 0 0 4096"), "error ENXIO");
}

TEST_F(PrivateTest, AProcesssMemoryStaysWhenTheDeviceGoes) {
  ASSERT_EQ(client_->ask("fill 0 7"), "ok");
  const std::string filled = client_->ask("hash 0");
  ASSERT_EQ(client_->ask("migrate 0 0 1048576"), "ok 256");
  EXPECT_EQ(pool_.ctl({"disable-namespace", "namespace0.2"}).code, 1) << "busy";
  const Json report = pool_.ctl_json({"disable-namespace", "namespace0.2", "--force"});
  EXPECT_EQ(report.at("pages_migrated"), 256);
  EXPECT_FALSE(report.at("holders").at(0).contains("signal"));
  EXPECT_EQ(client_->ask("hash 0"), filled);
  EXPECT_EQ(client_->ask("store 0 0 99"), "ok");
  EXPECT_EQ(client_->ask("msync 0"), "ok");
  EXPECT_EQ(client_->ask("fsync 0"), "ok");
  EXPECT_EQ(client_->ask("pread 0 0"), "ok 99");
  EXPECT_FALSE(std::filesystem::exists(pool_.path("hmm0.2")));
  pool_.ctl_json({"enable-namespace", "namespace0.2"});
  EXPECT_EQ(client_->ask("load 0 0"), "ok 99");
  EXPECT_EQ(client_->ask("migrate 0 0 1048576"), "ok 256");
  EXPECT_EQ(client_->ask("load 0 0"), "ok 99");
  pool_.expect_check_passes();
}

TEST_F(PrivateTest, WhatIsStoredWhilePagesMigrateIsKept) {
  ASSERT_EQ(client_->ask("threads 2 0"), "ok");
  Client gpu;
  gpu.map_file(pool_.path("hmm0.2"), kMiB);
  uint64_t moved = 0;
  for (int round = 0; round < 50; ++round) {
    const std::string answer = gpu.ask("migrate 0 0 1048576");
    ASSERT_EQ(answer.substr(0, 3), "ok ");
    moved += std::stoull(answer.substr(3));
  }
  EXPECT_THAT(client_->ask("stop"), HasSubstr("wrong 0 stopped,stopped"));
  EXPECT_EQ(client_->ask("verify"), "ok");
  EXPECT_GT(moved, 0u);
  EXPECT_EQ(refs().at("unaccounted"), 0);
}

TEST_F(PrivateTest, TheExampleOfTheDocument) {
  const std::string source(PMEMD_SOURCE_DIR);
  EXPECT_THAT(read_file(source + "/docs/private-and-p2p.md"),
              HasSubstr(read_file(source + "/client/examples/private.cc")));
  Conversation example({program("pmemd_example_private"), pool_.path("hmm0.2")});
  EXPECT_EQ(example.receive(), "16 pages went to the device");
  EXPECT_EQ(pages_out(), 16u);
  EXPECT_EQ(example.ask(""), "and back comes x");
  EXPECT_EQ(example.process().wait(), 0);
  EXPECT_EQ(pages_out(), 15u);
}

TEST_F(PrivateTest, ContentIsZeroAfterARestart) {
  ASSERT_EQ(client_->ask("fill 0 7"), "ok");
  ASSERT_EQ(client_->ask("migrate 0 0 524288"), "ok 128");
  client_.reset();
  pool_.stop();
  pool_.start({.create = ""});
  EXPECT_EQ(read_file(pool_.path("hmm0.2")), std::string(14 * kMiB, '\0'));
  pool_.expect_check_passes();
}

}  // namespace
}  // namespace pmemd
