// Pins and registered mappings, through ioctl on a mapped file's own descriptor.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/ioctl.h>

#include <csignal>
#include <map>
#include <optional>

#include "client/pmemd_ioctl.h"
#include "core/base/unique_fd.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class PinsTest : public RemovalTest {
 protected:
  void SetUp() override {
    RemovalTest::SetUp();
    if (IsSkipped()) return;
    make_file("pmem0/a", 65536);
    client_.emplace();
    client_->map_file(pool_.path("pmem0/a"), 65536);
  }
  std::string pin(const std::string& range) { return client_->ask("pin 0 " + range); }

  std::optional<Client> client_;
};

TEST_F(PinsTest, EachErrno) {
  EXPECT_EQ(pin("0 0"), "error EINVAL");
  EXPECT_EQ(pin("65536 1"), "error EINVAL");
  EXPECT_EQ(pin("1 65536"), "error EINVAL");
  EXPECT_EQ(pin("18446744073709551615 2"), "error EINVAL");
  EXPECT_EQ(client_->ask("unpin 0 12345"), "error ENOENT");
  EXPECT_EQ(client_->ask("unregister 0 12345"), "error ENOENT");
  const UniqueFd other(open("/dev/null", O_RDONLY | O_CLOEXEC));
  pmemd_pin request{.offset = 0, .length = 1, .id = 0};
  EXPECT_NE(ioctl(other.get(), PMEMD_IOC_PIN, &request), 0);
  EXPECT_EQ(errno, ENOTTY);
  const UniqueFd file(open(pool_.path("pmem0/a").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_NE(ioctl(file.get(), _IO(PMEMD_IOCTL_MAGIC, 99), nullptr), 0);
  EXPECT_EQ(errno, ENOTTY);
  const UniqueFd directory(open(pool_.path("pmem0").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_NE(ioctl(directory.get(), PMEMD_IOC_PIN, &request), 0);
  EXPECT_EQ(errno, ENOTTY);
}

TEST_F(PinsTest, PinnedRangeIsNeitherTruncatedNorPunched) {
  ASSERT_EQ(pin("8192 4096").substr(0, 3), "ok ");
  const UniqueFd file(open(pool_.path("pmem0/a").c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_NE(ftruncate(file.get(), 8192), 0);
  EXPECT_EQ(errno, EBUSY);
  EXPECT_NE(fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192), 0);
  EXPECT_EQ(errno, EBUSY);
  EXPECT_EQ(fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192), 0);
  EXPECT_EQ(ftruncate(file.get(), 12288), 0) << "behind the pin";
  EXPECT_EQ(ftruncate(file.get(), 1 << 20), 0);
}

TEST_F(PinsTest, RefsTellWhoHasWhat) {
  ASSERT_EQ(pin("4096 8192").substr(0, 3), "ok ");
  ASSERT_EQ(client_->ask("register 0 0 65536 0").substr(0, 3), "ok ");
  ASSERT_EQ(client_->ask("load 0 0").substr(0, 3), "ok ");
  const Json refs = pool_.ctl_json({"refs", "namespace0.0"});
  EXPECT_EQ(refs.at("pins"), 1);
  EXPECT_EQ(refs.at("mappings"), 1);
  EXPECT_EQ(refs.at("handles"), 1);
  EXPECT_EQ(refs.at("unaccounted"), 0);
  ASSERT_EQ(refs.at("holders").size(), 1u);
  const Json& counts = refs.at("holders")[0];
  EXPECT_EQ(counts.at("pid"), client_->pid());
  EXPECT_EQ(counts.at("handles"), 1);
  EXPECT_EQ(counts.at("mappings"), 1);
  EXPECT_EQ(counts.at("pins"), 1);
  EXPECT_EQ(refs.at("held"), refs.at("leases").get<int>() + 1);
  std::map<std::string, Json> by_kind;
  for (const Json& reference : refs.at("references")) by_kind[reference.at("kind")] = reference;
  const Json& pinned = by_kind.at("pin");
  EXPECT_EQ(pinned.at("pid"), client_->pid());
  EXPECT_EQ(pinned.at("comm"), "pmemd_test_clie");
  EXPECT_EQ(pinned.at("file"), "/pmem0/a");
  EXPECT_EQ(pinned.at("offset"), 4096);
  EXPECT_EQ(pinned.at("length"), 8192);
  EXPECT_NE(by_kind.at("mapping").at("address"), 0);
  EXPECT_FALSE(by_kind.at("lease").contains("pid"));
  const Output table = pool_.ctl({"refs", "0.0"});
  EXPECT_EQ(table.code, 0);
  EXPECT_THAT(table.out, AllOf(HasSubstr("namespace0.0: enabled"), HasSubstr("0x1000-0x3000"),
                               HasSubstr("(page cache)"), HasSubstr("whole file")));
  const auto of_range = [&](const std::string& offset, const std::string& length) {
    return pool_.ctl_json({"refs", "--file", "/pmem0/a", "--offset", offset, "--length", length});
  };
  EXPECT_EQ(of_range("12K", "4K").at("pins"), 0);
  EXPECT_EQ(of_range("0", "4097").at("pins"), 1);
  EXPECT_THAT(pool_.ctl({"refs", "--file", "/pmem0/none"}).err, HasSubstr("/pmem0/none"));
  EXPECT_EQ(pool_.ctl({"refs", "0.0", "--offset", "0"}).code, 1) << "of which file?";
  EXPECT_EQ(pool_.ctl({"refs", "0.1", "--file", "/pmem0/a"}).code, 1) << "it is in another";
  EXPECT_EQ(pool_.ctl_json({"refs", "0.1", "--offset", "4K"}).at("pins"), 0);
  EXPECT_EQ(pool_.ctl({"refs", "namespace9.9"}).code, 1);
  EXPECT_EQ(pool_.ctl({"refs"}).code, 2);
}

TEST_F(PinsTest, UnpinAndUnregisterTakeTheirOwnOnly) {
  const std::string pinned = pin("0 4096").substr(3);
  const std::string registered = client_->ask("register 0 0 65536 0").substr(3);
  EXPECT_EQ(client_->ask("unpin 0 " + registered), "error ENOENT");
  EXPECT_EQ(client_->ask("unregister 0 " + pinned), "error ENOENT");
  EXPECT_EQ(client_->ask("unpin 0 " + pinned), "ok");
  EXPECT_EQ(client_->ask("unpin 0 " + pinned), "error ENOENT") << "once";
  EXPECT_EQ(client_->ask("unregister 0 " + registered), "ok");
}

// --- what a removal does about them

TEST_F(PinsTest, ForcedRemovalThatMeetsAPinChangesNothingAndSaysWhoseItIs) {
  ASSERT_EQ(pin("0 4096").substr(0, 3), "ok ");
  ASSERT_EQ(client_->ask("store 0 0 7"), "ok");
  const Output output =
      pool_.ctl({"disable-namespace", "namespace0.0", "--force", "--drain-timeout", "10ms"});
  EXPECT_EQ(output.code, 1);
  EXPECT_THAT(output.err, AllOf(HasSubstr("namespace0.0: 1 pin left"),
                                HasSubstr(std::to_string(client_->pid())), HasSubstr("/a"),
                                HasSubstr("0x0-0x1000"), HasSubstr("--abandon")));
  EXPECT_EQ(client_->ask("load 0 0"), "ok 7");
  EXPECT_EQ(client_->ask("load 0 32768").substr(0, 3), "ok ");
  EXPECT_EQ(client_->ask("pwrite 0 8192 1"), "ok");
  make_file("pmem0/b", 4096);
  EXPECT_EQ(pool_.ctl({"disable-namespace", "namespace0.0"}).code, 1) << "busy";
}

TEST_F(PinsTest, ForcedRemovalWaitsAndThePinnedRangeWorksMeanwhile) {
  write_file(pool_.path("pmem0/cold"), pattern(3, 1 << 20));
  turn_off_and_on();  // nothing of it is in the page cache
  Client pinner;
  pinner.map_file(pool_.path("pmem0/cold"), 1 << 20);
  const std::string answer = pinner.ask("pin 0 524288 4096");
  ASSERT_EQ(answer.substr(0, 3), "ok ");
  MonitorProgram monitor(pool_);
  Conversation removal(pool_.ctl_args({"--json", "disable-namespace", "namespace0.0", "--force"}));
  while (monitor.next().at("kind") != "pre-remove") {
  }
  EXPECT_EQ(pinner.ask("load 0 524288").substr(0, 3), "ok ") << "its first touch";
  EXPECT_EQ(pinner.ask("unpin 0 " + answer.substr(3)), "ok");
  while (removal.receive() != "gone") {
  }
  EXPECT_EQ(removal.process().wait(), 0);
  EXPECT_EQ(pinner.ask("load 0 524288").substr(0, 6), "sigbus");
}

TEST_F(PinsTest, PinDiesWithItsProcessOrItsFileWhicheverIsFirst) {
  const std::string child = client_->ask("fork");
  ASSERT_EQ(pin("0 4096").substr(0, 3), "ok ");
  ASSERT_EQ(client_->ask("child pin 0 4096 4096").substr(0, 3), "ok ");
  ASSERT_EQ(pool_.ctl_json({"status"}).at("pins"), 2);
  kill(std::stoi(child.substr(3)), SIGKILL);
  // The child's end is told to the daemon by the kernel; there is nothing else to wait for.
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (pool_.ctl_json({"status"}).at("pins") != 1) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "its pin outlived it";
  }
  const Json refs = pool_.ctl_json({"refs", "namespace0.0"});
  EXPECT_EQ(refs.at("handles"), 1) << "the descriptor that both had";
  EXPECT_EQ(client_->ask("close 0"), "ok");
  EXPECT_EQ(pool_.ctl_json({"status"}).at("pins"), 1) << "the mapping keeps the file open";
  EXPECT_EQ(client_->ask("unmap 0"), "ok");
  while (pool_.ctl_json({"status"}).at("pins") != 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "its pin outlived its file";
  }
}

TEST_F(PinsTest, SurpriseTakesAPinAndItsOwnerIsTold) {
  const std::string answer = pin("0 4096");
  ASSERT_EQ(answer.substr(0, 3), "ok ");
  const Json report = force_off("--surprise");
  EXPECT_EQ(report.at("pins_taken"), 1);
  EXPECT_EQ(pin("0 4096"), "error EIO");
  EXPECT_EQ(client_->ask("unpin 0 " + answer.substr(3)), "error ENOENT");
  turn_on();
  EXPECT_EQ(pin("0 4096").substr(0, 3), "ok ");
}

TEST_F(PinsTest, OneOfADevdaxToo) {
  Client client;
  client.map_file(pool_.path("dax0.1"), 4 << 20);
  EXPECT_EQ(client.ask("pin 0 0 4194304").substr(0, 3), "ok ");
  EXPECT_EQ(client.ask("pin 0 0 1099511627776"), "error EINVAL");
}

}  // namespace
}  // namespace pmemd
