// Poison, as mappers are told of it, asked about it, and see it. "Must show" 5 and 6.
#include <gmock/gmock.h>

#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "client/pmemd_ioctl.h"
#include "tests/integration/support/mapper.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

class MapperPoisonTest : public RemovalTest {
 protected:
  void SetUp() override {
    RemovalTest::SetUp();
    if (IsSkipped()) return;
    make_file("pmem0/a", 65536);
    path_ = pool_.path("pmem0/a");
    mapper_.emplace();  // not before: it is to be in the test's mount namespace
    other_.emplace();
    ASSERT_EQ(mapper_->ask("open " + path_ + " rw"), "ok 0");
    ASSERT_EQ(other_->ask("open " + path_ + " rw"), "ok 0");
    other_->number("register 0 4096 16384");
  }

  DaemonOptions daemon_options() const override { return {.debug_faults = true}; }

  std::vector<std::string> inject_args(uint64_t offset, uint64_t length,
                                       const std::vector<std::string>& more = {}) const {
    std::vector<std::string> args = {
        "--json",   "inject-error",         "--file",   path_,
        "--offset", std::to_string(offset), "--length", std::to_string(length)};
    args.insert(args.end(), more.begin(), more.end());
    return pool_.ctl_args(args);
  }
  void inject(uint64_t offset, uint64_t length, const std::vector<std::string>& more = {}) const {
    run_ok(inject_args(offset, length, more));
  }

  // Poisons page 2 of a file that the mapper has taken over, until the mapper is asked.
  Told inject_until_asked(uint64_t timeout_ms) {
    mapper_->number("takeover 0 0 65536 " + std::to_string(timeout_ms));
    injection_.emplace(inject_args(8192, 4096));
    const Told told = mapper_->event("wait 0");
    EXPECT_EQ(told.kind, PMEMD_EVENT_TAKEOVER);
    EXPECT_EQ(told.flags, PMEMD_EVENT_WANTS_ANSWER);
    EXPECT_EQ(told.timeout_ms, timeout_ms);
    EXPECT_EQ(told.offset, 8192u);
    EXPECT_EQ(told.length, 4096u);
    return told;
  }
  std::string answer(const Told& told, int value) {
    return mapper_->ask("answer 0 " + std::to_string(told.seq) + " " + std::to_string(told.id) +
                        " " + std::to_string(value));
  }
  void expect_injection_ends() {
    while (injection_->receive() != "gone") {
    }
    EXPECT_EQ(injection_->process().wait(), 0);
  }
  void expect_last_resort() {
    const Told told = other_->event("wait 0");
    EXPECT_EQ(told.kind, PMEMD_EVENT_POISON);
    EXPECT_EQ(told.offset, 8192u);
    EXPECT_EQ(told.length, 4096u);
    EXPECT_EQ(told.at, 8192u);
    expect_injection_ends();
    EXPECT_EQ(other_->ask("touch 0 8192"), "error EIO");
  }

  std::string path_;
  std::optional<MapperProgram> mapper_;
  std::optional<MapperProgram> other_;
  std::optional<Conversation> injection_;
};

TEST_F(MapperPoisonTest, PoisonAndItsEndAreToldInTheMappersCoordinates) {
  inject(0, 8192);
  const Told told = other_->event("wait 0");
  EXPECT_EQ(told.kind, PMEMD_EVENT_POISON);
  EXPECT_EQ(told.offset, 4096u);
  EXPECT_EQ(told.length, 4096u) << "its part";
  EXPECT_EQ(told.at, 4096u);
  inject(24576, 4096);
  EXPECT_EQ(other_->ask("read 0"), "error EAGAIN") << "not its range";
  EXPECT_EQ(other_->ask("write 0 0 8192"), "ok");
  const Told cleared = other_->event("wait 0");
  EXPECT_EQ(cleared.kind, PMEMD_EVENT_CLEARED);
  EXPECT_EQ(cleared.offset, 4096u);
  EXPECT_EQ(cleared.length, 4096u);
}

TEST_F(MapperPoisonTest, QueryTellsWhatIsKnownAndWhatWasTouchedAMomentAgo) {
  EXPECT_EQ(mapper_->ask("query 0 0 65536"), "ok 0 0");
  inject(12288, 512);
  inject(16384, 512, {"--no-notify"});
  EXPECT_EQ(mapper_->ask("query 0 0 65536"), "ok 12288 512");
  EXPECT_EQ(mapper_->ask("query 0 12800 52736"), "ok 12800 0") << "nobody knows of latent errors";
  // The touch is noted, and stalls before it is recorded.
  pool_.ctl_json({"debug", "fail-at", "inject.record", "--delay", "10m"});
  EXPECT_EQ(mapper_->ask("touch 0 16384"), "error EIO");
  EXPECT_EQ(mapper_->ask("query 0 12800 52736"), "ok 16384 512");
  pool_.ctl_json({"debug", "clear"});
  EXPECT_EQ(mapper_->ask("query 0 12800 52736"), "ok 16384 512");
  EXPECT_EQ(other_->event("wait 0").offset, 12288u);
  EXPECT_EQ(other_->event("wait 0").offset, 16384u) << "the touch has told the others";
}

TEST_F(MapperPoisonTest, WhoHandlesAndRepairsIsTheOnlyOneWhoIsToldOfPoison) {
  const Told told = inject_until_asked(10'000);
  EXPECT_EQ(mapper_->ask("write 0 8192 4096"), "ok");
  EXPECT_EQ(answer(told, PMEMD_ANSWER_DONE), "ok");
  expect_injection_ends();
  EXPECT_EQ(other_->ask("touch 0 8192"), "ok");
  EXPECT_EQ(other_->event("wait 0").kind, PMEMD_EVENT_CLEARED);
  EXPECT_EQ(other_->ask("read 0"), "error EAGAIN");
}

TEST_F(MapperPoisonTest, ARefusalLeadsToTheLastResort) {
  const Told told = inject_until_asked(10'000);
  EXPECT_EQ(answer(told, PMEMD_ANSWER_REFUSED), "ok");
  expect_last_resort();
  EXPECT_EQ(answer(told, PMEMD_ANSWER_DONE), "error ENOENT");
}

TEST_F(MapperPoisonTest, WhoAnswersTooLateIsNotWaitedFor) {
  const Told told = inject_until_asked(1);
  expect_last_resort();
  EXPECT_EQ(answer(told, PMEMD_ANSWER_DONE), "error ENOENT");
}

TEST_F(MapperPoisonTest, WhoIsKilledWhileItIsAskedIsNotWaitedFor) {
  inject_until_asked(10'000);
  mapper_->process().signal(SIGKILL);
  expect_last_resort();
  EXPECT_EQ(pool_.ctl_json({"refs", "namespace0.0"}).at("takeovers"), 0);
}

}  // namespace
}  // namespace pmemd
