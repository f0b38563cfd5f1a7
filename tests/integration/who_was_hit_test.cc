// Whom reports name: also who is gone by then.
#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "core/base/units.h"
#include "tests/integration/client.h"
#include "tests/integration/mapper.h"
#include "tests/integration/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

// Stores and syncs until that fails.
constexpr const char* kSyncs = R"(
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
memory = mmap.mmap(fd, 65536)
memory[0] = 1
memory.flush()
print('ready', flush=True)
while True:
    memory[0] = memory[0] + 1 & 255
    try:
        memory.flush()
    except OSError:
        os._exit(3)
)";

class WhoWasHitTest : public RemovalTest {
 protected:
  void SetUp() override {
    RemovalTest::SetUp();
    if (IsSkipped()) return;
    std::filesystem::create_directory(pool_.path("pmem0/dir"));
    make_file("pmem0/dir/f", 65536);
    path_ = pool_.path("pmem0/dir/f");
  }
  DaemonOptions daemon_options() const override { return {.debug_faults = true}; }

  // A removal that stalls before a step, until go_on().
  Conversation stalled_removal(const std::string& step) const {
    EXPECT_EQ(pool_.ctl({"debug", "fail-at", step, "--delay", "9m"}).code, 0);
    return Conversation(pool_.ctl_args({"--json", "disable-namespace", "namespace0.0", "--force"}));
  }
  Json go_on(Conversation& removal) const {
    EXPECT_EQ(pool_.ctl({"debug", "clear"}).code, 0);
    std::string text;
    for (std::string line; (line = removal.receive()) != "gone";) text += line;
    EXPECT_EQ(removal.process().wait(), 0);
    return Json::parse(text);
  }
  void wait_until_stalled(const std::string& step) const {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (true) {
      for (const Json& fault : pool_.ctl_json({"debug", "list"})) {
        if (fault.at("step") == step && fault.at("hits") != 0) return;
      }
      if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("never got there");
    }
  }

  std::string path_;
};

TEST_F(WhoWasHitTest, WhoEndsAtTheFirstFailedSyncIsInTheReport) {
  Conversation program({"python3", "-c", kSyncs, path_});
  ASSERT_EQ(program.receive(), "ready");
  Conversation removal = stalled_removal("disable.notify");  // nobody is told yet
  ASSERT_EQ(program.process().wait(), 3);
  const Json report = go_on(removal);
  const Json hit = holder(report, program.pid());
  EXPECT_EQ(hit.at("became"), "ended");
  // Since Linux 6.15 of a process that was reaped.
  EXPECT_THAT(hit.value("ended_by", ""), AnyOf("exit 3", ""));
  EXPECT_EQ(hit.at("mappings").at(0).at("file"), "/dir/f");
}

TEST_F(WhoWasHitTest, WhoEndsWhenItIsToldIsInTheReport) {
  MapperProgram mapper;
  ASSERT_EQ(mapper.ask("open " + path_ + " rw"), "ok 0");
  mapper.number("register 0 0 65536");
  ASSERT_EQ(mapper.ask("write 0 0 4096"), "ok");
  Conversation removal = stalled_removal("disable.unpin");
  ASSERT_EQ(mapper.event("wait 0").kind, 2u);
  mapper.process().signal(SIGBUS);  // as the shim raises it for an early kill
  ASSERT_EQ(mapper.process().wait(), 128 + SIGBUS);
  const Json report = go_on(removal);
  EXPECT_EQ(holder(report, mapper.pid()).at("became"), "ended");
}

TEST_F(WhoWasHitTest, WhoLetsGoWithinTheGraceHasLetGo) {
  MapperProgram mapper;
  ASSERT_EQ(mapper.ask("open " + path_ + " rw"), "ok 0");
  mapper.number("register 0 0 65536");
  Conversation removal(
      pool_.ctl_args({"disable-namespace", "namespace0.0", "--force", "--grace", "1h"}));
  ASSERT_EQ(mapper.event("wait 0").kind, 2u);
  ASSERT_EQ(mapper.ask("close 0"), "ok");
  std::string text;
  for (std::string line; (line = removal.receive()) != "gone";) text += line + "\n";
  EXPECT_EQ(removal.process().wait(), 0);
  EXPECT_THAT(text, HasSubstr("0 processes lost it, 1 let go before"));
}

TEST_F(WhoWasHitTest, WhoIsKilledHasEnded) {
  Client client;
  client.map_file(path_, 65536);
  const Json report = force_off("--kill");
  EXPECT_EQ(holder(report, client.pid()).at("became"), "ended");
  EXPECT_EQ(holder(report, client.pid()).at("ended_by"), "SIGKILL");
}

}  // namespace
}  // namespace pmemd
