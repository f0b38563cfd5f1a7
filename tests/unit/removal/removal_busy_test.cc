// Who is asked before a device goes: busy ones without force, a grace time, a look without
// touching.
#include <gtest/gtest.h>

#include <thread>

#include "core/removal/look.h"
#include "tests/unit/let_others_fall_asleep.h"
#include "tests/unit/removal/removal_fixture.h"

namespace pmemd {
namespace {

class RemovalBusyTest : public RemovalFixture {};

TEST_F(RemovalBusyTest, OneThatIsOpenIsEbusyAndStaysAsItWas) {
  lend(fsdax_, 5, {0, 4096});
  const uint64_t handle = must(fsdax_.handles().add({.ino = ino(fsdax_, 5)}));
  kernel_.people = {holder({mapping(ino(fsdax_, 5), "/pmem0/a")})};
  const auto outcome = remove({&fsdax_}, {});
  EXPECT_EQ(outcome.result.err(), EBUSY);
  EXPECT_NE(outcome.result.error().message.find("namespace0.0"), std::string::npos);
  ASSERT_EQ(outcome.reports.size(), 1u);
  EXPECT_FALSE(outcome.reports[0].disabled);
  ASSERT_EQ(outcome.reports[0].holders.size(), 1u) << "the list of who holds it";
  EXPECT_EQ(outcome.reports[0].lent_ranges, 1u);
  EXPECT_TRUE(kernel_.log().empty()) << "nobody is told, nothing hidden, nothing revoked";
  EXPECT_EQ(fsdax_.leases().totals().ranges, 1u);
  expect_live(fsdax_);
  fsdax_.handles().remove(handle);
  EXPECT_TRUE(remove({&fsdax_}, {}).result);
}

TEST_F(RemovalBusyTest, OneThatNobodyVisibleHoldsIsStillBusy) {
  must(fsdax_.handles().add({.ino = ino(fsdax_, 5)}));
  const auto outcome = remove({&fsdax_}, {});
  EXPECT_EQ(outcome.result.err(), EBUSY);
  EXPECT_NE(outcome.result.error().message.find("1 open file"), std::string::npos);
}

TEST_F(RemovalBusyTest, OneBusyAmongSeveralLeavesAllLive) {
  lend(fsdax_, 5, {0, 4096});
  must(devdax_.handles().add({.ino = devdax_.root_ino()}));
  const auto outcome = remove({&fsdax_, &devdax_}, {});
  EXPECT_EQ(outcome.result.err(), EBUSY);
  EXPECT_NE(outcome.result.error().message.find("namespace1.0"), std::string::npos);
  EXPECT_TRUE(kernel_.log().empty());
  expect_live(fsdax_);
  expect_live(devdax_);
  EXPECT_EQ(fsdax_.leases().totals().ranges, 1u);
  EXPECT_TRUE(remove({&fsdax_}, {}).result) << "alone it may go";
}

// A process has ended, and its RELEASE is on the way. There is a limit in time to that, which a
// busy machine may miss: so once in many attempts will do.
TEST_F(RemovalBusyTest, ReleaseThatComesLateIsWaitedFor) {
  bool removed = false;
  for (int attempt = 0; attempt < 20 && !removed; ++attempt) {
    const uint64_t handle = must(fsdax_.handles().add({.ino = ino(fsdax_, 5)}));
    std::jthread server([&] {
      let_others_fall_asleep();
      fsdax_.handles().remove(handle);
    });
    removed = remove({&fsdax_}, {}).result.has_value();
  }
  EXPECT_TRUE(removed);
}

TEST_F(RemovalBusyTest, InterruptedItIsBusyAtOnce) {
  must(fsdax_.handles().add({.ino = ino(fsdax_, 5)}));
  fsdax_.handles().interrupt_waits();
  EXPECT_EQ(remove({&fsdax_}, {}).result.err(), EBUSY);
  expect_live(fsdax_);
}

TEST_F(RemovalBusyTest, GraceEndsWhenTheLastHolderLetsGo) {
  const uint64_t handle = must(fsdax_.handles().add({.ino = ino(fsdax_, 5), .writable = true}));
  lend(fsdax_, 5, {0, 4096});
  kernel_.on_inval = [&](uint64_t) -> Result<void> {
    EXPECT_EQ(fsdax_.claims().handle_count(), 0u);
    return {};
  };
  std::jthread client;
  kernel_.on_event = [&](const Event& event) {  // it hears of it, and closes
    if (event.kind == EventKind::kPreRemove) {
      client = std::jthread([&] {
        let_others_fall_asleep();
        fsdax_.handles().remove(handle);
      });
    }
  };
  auto options = forced();
  options.grace = std::chrono::minutes(10);
  EXPECT_TRUE(remove({&fsdax_}, options).result);
}

TEST_F(RemovalBusyTest, GraceThatRunsOutTakesItAnyway) {
  must(fsdax_.handles().add({.ino = ino(fsdax_, 5)}));
  auto options = forced();
  options.grace = std::chrono::milliseconds(1);
  EXPECT_TRUE(remove({&fsdax_}, options).result);
  EXPECT_EQ(fsdax_.claims().handle_count(), 1u);
}

TEST_F(RemovalBusyTest, DryRunTouchesNothingBusyOrNot) {
  lend(fsdax_, 5, {0, 4096});
  must(fsdax_.handles().add({.ino = ino(fsdax_, 5), .writable = true}));
  kernel_.people = {
      holder({mapping(ino(fsdax_, 5), "/pmem0/a")}, {{ino(fsdax_, 5), "/pmem0/a", 3}})};
  for (const bool force : {false, true}) {
    RemovalOptions options;
    options.force = force;
    options.dry_run = options.kill = options.surprise = true;
    options.grace = std::chrono::minutes(10);
    const auto outcome = remove({&fsdax_, &devdax_}, options);
    ASSERT_TRUE(outcome.result);
    ASSERT_EQ(outcome.reports.size(), 2u);
    const RemovalReport& report = outcome.reports[0];
    EXPECT_TRUE(report.dry_run);
    EXPECT_FALSE(report.disabled);
    EXPECT_EQ(report.lent_bytes, 4096u);
    EXPECT_EQ(report.holders.size(), 1u);
    EXPECT_TRUE(report.killed.empty());
    EXPECT_TRUE(report.steps.empty());
    EXPECT_TRUE(outcome.reports[1].holders.empty());
    EXPECT_TRUE(kernel_.log().empty());
    EXPECT_EQ(events_.published(), 0u);
    EXPECT_EQ(fsdax_.leases().totals().ranges, 1u);
    expect_live(fsdax_);
    expect_live(devdax_);
  }
}

TEST_F(RemovalBusyTest, LookingTellsOfDisabledOnesToo) {
  take_down(fsdax_);
  kernel_.people = {holder({}, {{ino(fsdax_, 5), "/pmem0/a", 3}})};
  const auto reports = look_at_devices({&fsdax_, &devdax_}, {&fsdax_, &devdax_}, kernel_).reports;
  ASSERT_EQ(reports.size(), 2u);
  EXPECT_EQ(reports[0].holders.size(), 1u) << "its descriptor outlived the removal";
  EXPECT_EQ(fsdax_.state(), State::kDisabled);
  EXPECT_TRUE(kernel_.log().empty());
}

}  // namespace
}  // namespace pmemd
