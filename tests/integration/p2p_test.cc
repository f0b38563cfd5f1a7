// A p2p namespace through the mount: buffers are taken from a pool, and returned.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <chrono>
#include <csignal>
#include <optional>
#include <string>

#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::HasSubstr;

constexpr auto kBadAddress = "sigbus 2 ";  // BUS_ADRERR

class P2pTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    pool_.start();
    pool_.make_two_namespaces();
    const Json made = pool_.ctl_json({"create-namespace", "--mode", "p2p", "--size", "16M"});
    EXPECT_EQ(made.at("mode"), "p2p");
    EXPECT_EQ(made.at("chardev"), "p2p0.2");
    client_.emplace();
    client_->map_file(pool_.path("p2p0.2"), kMiB);
  }
  Json refs() { return pool_.ctl_json({"refs", "namespace0.2"}); }
  uint64_t buffers() { return refs().at("buffers").get<uint64_t>(); }
  void wait_for_buffers(uint64_t count) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (buffers() != count) ASSERT_LT(std::chrono::steady_clock::now(), deadline) << buffers();
  }

  TestPool pool_;
  std::optional<Client> client_;
};

TEST_F(P2pTest, OnlyBuffersAreMemory) {
  EXPECT_EQ(client_->ask("load 0 0"), std::string(kBadAddress) + "0");
  EXPECT_EQ(client_->ask("pread 0 0"), "error EIO");
  ASSERT_EQ(client_->ask("alloc 0 8192"), "ok 0");
  EXPECT_EQ(client_->ask("load 0 0"), "ok 0");
  EXPECT_EQ(client_->ask("store 0 4096 5"), "ok");
  EXPECT_EQ(client_->ask("pwrite 0 0 6"), "ok");
  EXPECT_EQ(client_->ask("load 0 0"), "ok 6");
  EXPECT_EQ(client_->ask("load 0 8192"), std::string(kBadAddress) + "8192");
  EXPECT_EQ(client_->ask("pwrite 0 8192 6"), "error EIO");
  Client other;
  other.map_file(pool_.path("p2p0.2"), kMiB);
  EXPECT_EQ(other.ask("load 0 0"), "ok 6") << "a buffer is there for others to use";
  EXPECT_EQ(other.ask("free 0 0"), "error ENOENT") << "but not theirs to return";
  EXPECT_GE(refs().at("held"), 2);
  EXPECT_EQ(refs().at("unaccounted"), 0);
}

TEST_F(P2pTest, AFreedBufferIsTakenOutOfMappingsAndZeroed) {
  ASSERT_EQ(client_->ask("alloc 0 4096"), "ok 0");
  ASSERT_EQ(client_->ask("store 0 0 1234"), "ok");
  EXPECT_EQ(client_->ask("free 0 0"), "ok");
  EXPECT_EQ(client_->ask("present 0"), "ok 0");
  EXPECT_EQ(client_->ask("load 0 0"), std::string(kBadAddress) + "0");
  ASSERT_EQ(client_->ask("alloc 0 4096"), "ok 0");
  EXPECT_EQ(client_->ask("load 0 0"), "ok 0") << "the bytes of the one before";
}

TEST_F(P2pTest, EachErrno) {
  EXPECT_EQ(client_->ask("alloc 0 0"), "error EINVAL");
  EXPECT_EQ(client_->ask("alloc 0 4095"), "error EINVAL");
  EXPECT_EQ(client_->ask("alloc 0 1099511627776"), "error EINVAL");
  EXPECT_EQ(client_->ask("free 0 0"), "error ENOENT");
  EXPECT_EQ(client_->ask("alloc 0 14680064"), "ok 0");
  EXPECT_EQ(client_->ask("alloc 0 4096"), "error ENOMEM");
  EXPECT_EQ(client_->ask("pin 0 0 4096"), "error EOPNOTSUPP");
  EXPECT_EQ(client_->ask("migrate 0 0 4096"), "error ENOTTY");
  pool_.ctl_json({"disable-namespace", "namespace0.2", "--force", "--surprise"});
  EXPECT_EQ(client_->ask("alloc 0 4096"), "error ENXIO");
  EXPECT_EQ(client_->ask("free 0 0"), "error ENOENT") << "it was taken";
}

TEST_F(P2pTest, ABufferGoesWithItsFileOrItsProcess) {
  const std::string child = client_->ask("fork");
  ASSERT_EQ(client_->ask("child alloc 0 4096"), "ok 0");
  ASSERT_EQ(client_->ask("alloc 0 4096"), "ok 4096");
  ASSERT_EQ(client_->ask("child store 0 0 77"), "ok");
  ASSERT_EQ(buffers(), 2u);
  kill(std::stoi(child.substr(3)), SIGKILL);
  wait_for_buffers(1);
  EXPECT_EQ(client_->ask("load 0 0"), std::string(kBadAddress) + "0");
  ASSERT_EQ(client_->ask("close 0"), "ok");
  ASSERT_EQ(client_->ask("unmap 0"), "ok");
  wait_for_buffers(0);
}

TEST_F(P2pTest, RemovalRefusesWaitsReportsOrTakes) {
  ASSERT_EQ(client_->ask("alloc 0 4096"), "ok 0");
  ASSERT_EQ(client_->ask("store 0 0 1"), "ok");
  const Output busy = pool_.ctl({"disable-namespace", "namespace0.2"});
  EXPECT_EQ(busy.code, 1);
  EXPECT_THAT(busy.out + busy.err, HasSubstr("buffer"));
  const Output late =
      pool_.ctl({"disable-namespace", "namespace0.2", "--force", "--drain-timeout", "50ms"});
  EXPECT_EQ(late.code, 1);
  EXPECT_THAT(late.err, HasSubstr("1 buffer left at the deadline"));
  EXPECT_EQ(client_->ask("load 0 0"), "ok 1") << "everything is as before";
  EXPECT_EQ(client_->ask("alloc 0 4096"), "ok 4096");
  const Json report =
      pool_.ctl_json({"disable-namespace", "namespace0.2", "--force", "--surprise"});
  EXPECT_EQ(report.at("buffers_taken"), 2);
  EXPECT_EQ(client_->ask("load 0 0").substr(0, 6), "sigbus");
  pool_.ctl_json({"enable-namespace", "namespace0.2"});
  EXPECT_EQ(client_->ask("load 0 0").substr(0, 6), "sigbus") << "nobody has taken it since";
  ASSERT_EQ(client_->ask("alloc 0 4096"), "ok 0");
  EXPECT_EQ(client_->ask("load 0 0"), "ok 0");
  pool_.expect_check_passes();
}

TEST_F(P2pTest, ForcedRemovalGoesOnWhenTheBufferIsFreed) {
  ASSERT_EQ(client_->ask("alloc 0 4096"), "ok 0");
  MonitorProgram monitor(pool_);
  Conversation removal(pool_.ctl_args({"--json", "disable-namespace", "namespace0.2", "--force"}));
  while (monitor.next().at("kind") != "pre-remove") {
  }
  EXPECT_EQ(client_->ask("load 0 0"), "ok 0") << "its first touch, while the removal waits";
  EXPECT_EQ(client_->ask("free 0 0"), "ok");
  while (removal.receive() != "gone") {
  }
  EXPECT_EQ(removal.process().wait(), 0);
}

TEST_F(P2pTest, TheExampleOfTheDocument) {
  const std::string source(PMEMD_SOURCE_DIR);
  EXPECT_THAT(read_file(source + "/docs/private-and-p2p.md"),
              HasSubstr(read_file(source + "/client/examples/p2p.cc")));
  Conversation example({program("pmemd_example_p2p"), pool_.path("p2p0.2")});
  EXPECT_EQ(example.receive(), "a buffer at 0");
  EXPECT_EQ(buffers(), 1u);
  EXPECT_EQ(example.ask(""), "returned");
  EXPECT_EQ(buffers(), 0u);
  EXPECT_EQ(example.process().wait(), 0);
}

TEST_F(P2pTest, NothingOfAKilledDaemonsBuffersIsSeen) {
  ASSERT_EQ(client_->ask("alloc 0 4096"), "ok 0");
  ASSERT_EQ(client_->ask("pwrite 0 0 4711"), "ok");
  pool_.kill9();
  client_.reset();
  pool_.start({.create = ""});
  Client client;
  client.map_file(pool_.path("p2p0.2"), kMiB);
  ASSERT_EQ(client.ask("alloc 0 4096"), "ok 0");
  EXPECT_EQ(client.ask("load 0 0"), "ok 0");
  pool_.expect_check_passes();
}

TEST_F(P2pTest, TheDaemonEndsInOrderWithBuffersOut) {
  ASSERT_EQ(client_->ask("alloc 0 1048576"), "ok 0");
  ASSERT_EQ(client_->ask("fill 0 3"), "ok");
  pool_.stop();
}

}  // namespace
}  // namespace pmemd
