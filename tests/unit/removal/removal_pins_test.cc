// Pins: what a removal does about them, by its options; and references that nobody puts.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <thread>

#include "tests/unit/let_others_fall_asleep.h"
#include "tests/unit/removal/removal_fixture.h"

namespace pmemd {
namespace {

class RemovalPinsTest : public RemovalFixture {
 protected:
  static RemovalOptions patient() {
    RemovalOptions options;
    options.force = true;
    options.drain_timeout = std::chrono::minutes(5);
    return options;
  }

  uint64_t file_ = must(fsdax_.handles().add({.ino = ino(fsdax_, 5), .pid = getpid()}));
  uint64_t pin_ = must(fsdax_.handles().pin(file_, getpid(), {0, 8192}));
};

TEST_F(RemovalPinsTest, WithoutForceItIsBusy) {
  EXPECT_EQ(remove({&fsdax_}, {}).result.err(), EBUSY);
  EXPECT_EQ(fsdax_.claims().counts().pins, 1u);
  expect_live(fsdax_);
}

TEST_F(RemovalPinsTest, ForcedItWaitsForThePinBeforeAnythingIsTakenAway) {
  lend(fsdax_, 5, {0, 4096});
  std::jthread client;
  kernel_.on_event = [&](const Event& event) {
    if (event.kind != EventKind::kPreRemove || client.joinable()) return;
    client = std::jthread([&] {
      let_others_fall_asleep();
      EXPECT_EQ(kernel_.calls("inval"), 0u);
      must(fsdax_.claims().remove(file_, ReferenceKind::kPin, pin_));
    });
  };
  const auto outcome = remove({&fsdax_}, patient());
  ASSERT_TRUE(outcome.result) << outcome.result.error().describe();
  EXPECT_EQ(outcome.reports.at(0).pins_taken, 0u);
  EXPECT_EQ(kernel_.calls("inval"), 1u);
}

TEST_F(RemovalPinsTest, AtTheDeadlineItIsToldWhoHasPinnedWhatAndAllIsAsBefore) {
  lend(fsdax_, 5, {0, 4096});
  const auto outcome = remove({&fsdax_, &devdax_}, forced());
  EXPECT_EQ(outcome.result.err(), ETIMEDOUT);
  const std::string& message = outcome.result.error().message;
  EXPECT_NE(message.find("namespace0.0: 1 pin left"), std::string::npos) << message;
  EXPECT_NE(message.find(std::to_string(getpid())), std::string::npos) << message;
  const RemovalReport& report = outcome.reports.at(0);
  ASSERT_EQ(report.in_the_way.size(), 1u);
  EXPECT_EQ(report.in_the_way[0].kind, ReferenceKind::kPin);
  EXPECT_EQ(report.in_the_way[0].range, (FileRange{0, 8192}));
  EXPECT_EQ(report.unaccounted, 0u);
  EXPECT_EQ(kernel_.calls("inval"), 0u);
  EXPECT_EQ(kernel_.calls("hide"), 0u);
  EXPECT_EQ(kernel_.calls("enabled"), 2u);
  EXPECT_EQ(fsdax_.claims().counts().pins, 1u);
  expect_live(fsdax_);
  expect_live(devdax_);
}

TEST_F(RemovalPinsTest, SurpriseTakesItAtOnce) {
  auto options = patient();
  options.surprise = true;
  const auto outcome = remove({&fsdax_}, options);
  ASSERT_TRUE(outcome.result);
  EXPECT_EQ(outcome.reports.at(0).pins_taken, 1u);
  EXPECT_EQ(fsdax_.claims().remove(file_, ReferenceKind::kPin, pin_).err(), ENOENT);
  EXPECT_TRUE(fsdax_.enable());
}

TEST_F(RemovalPinsTest, AbandonTakesItAtTheDeadline) {
  auto options = forced();
  options.abandon = true;
  const auto outcome = remove({&fsdax_}, options);
  ASSERT_TRUE(outcome.result);
  EXPECT_EQ(outcome.reports.at(0).pins_taken, 1u);
  EXPECT_EQ(outcome.reports.at(0).abandoned, 0u) << "a pin that is taken is no leak";
}

TEST_F(RemovalPinsTest, KillEndsWhoHasPinned) {
  const pid_t child = fork();
  if (child == 0) {
    while (true) pause();
  }
  must(fsdax_.claims().remove(file_, ReferenceKind::kPin, pin_));
  must(fsdax_.handles().pin(file_, child, {0, 1}));
  std::jthread watch([&] {
    waitpid(child, nullptr, 0);
    fsdax_.claims().remove_process(child);
  });
  auto options = patient();
  options.kill = true;
  const auto outcome = remove({&fsdax_}, options);
  ASSERT_TRUE(outcome.result);
  EXPECT_EQ(outcome.reports.at(0).killed, std::vector<pid_t>{child});
  EXPECT_EQ(outcome.reports.at(0).pins_taken, 0u);
}

// What is pinned must stay whole until it is unpinned, so a READ of it is let in; no other.
TEST_F(RemovalPinsTest, PinnedRangeIsReadWhileTheOthersGetNothingMore) {
  const auto read = [&](uint64_t index, FileRange range) {
    return fsdax_
        .admit(Admission::kRead, {.what = "READ", .ino = ino(fsdax_, index), .range = range})
        .err();
  };
  std::jthread client;
  kernel_.on_event = [&](const Event& event) {
    if (event.kind != EventKind::kPreRemove || client.joinable()) return;
    client = std::jthread([&] {
      EXPECT_EQ(read(5, {4096, 8192}), 0);
      EXPECT_EQ(read(5, {8192, 12288}), EIO);
      EXPECT_EQ(read(6, {4096, 8192}), EIO);
      must(fsdax_.claims().remove(file_, ReferenceKind::kPin, pin_));
      EXPECT_EQ(read(5, {4096, 8192}), EIO);
    });
  };
  EXPECT_TRUE(remove({&fsdax_}, patient()).result);
}

// A READ that came in under the pin is waited for before pages are taken away.
TEST_F(RemovalPinsTest, ReadOfAPinnedRangeThatIsStillUnderWayHoldsUpTheRevocation) {
  lend(fsdax_, 5, {0, 4096});
  std::jthread client;
  kernel_.on_event = [&](const Event& event) {
    if (event.kind != EventKind::kPreRemove || client.joinable()) return;
    client = std::jthread([&] {
      const auto reading = must(fsdax_.admit(
          Admission::kRead, {.what = "READ", .ino = ino(fsdax_, 5), .range = {4096, 8192}}));
      must(fsdax_.claims().remove(file_, ReferenceKind::kPin, pin_));
      let_others_fall_asleep();
      EXPECT_EQ(kernel_.calls("inval"), 0u);
      EXPECT_TRUE(fsdax_.leases().lend(ino(fsdax_, 9), {0, 4096}));
    });
  };
  EXPECT_TRUE(remove({&fsdax_}, patient()).result);
  EXPECT_EQ(kernel_.calls("inval"), 2u) << "also what it was lent";
}

TEST_F(RemovalPinsTest, NoNewPinsWhileItIsDying) {
  std::optional<int> err;
  kernel_.on_event = [&](const Event&) {
    if (err) return;
    err = fsdax_.handles().pin(file_, getpid(), {0, 1}).err();
    must(fsdax_.claims().remove(file_, ReferenceKind::kPin, pin_));
  };
  EXPECT_TRUE(remove({&fsdax_}, patient()).result);
  EXPECT_EQ(err, EIO);
}

// --- references that nobody puts

class RemovalLeakTest : public RemovalFixture {
 protected:
  PagemapRef leak() {
    const auto region = must(pool_.pool().region(fsdax_.record().of_namespace().region));
    const Pfn pfn{(region.base_address + fsdax_.record().of_namespace().range.end) / kPageSize - 1};
    auto ref = pool_.registry().get_dev_pagemap(pfn);
    EXPECT_TRUE(ref);
    return ref;
  }
};

TEST_F(RemovalLeakTest, AbandonGivesItUpCountsItAndTheNextLifeIsClean) {
  auto leaked = leak();
  EXPECT_EQ(fsdax_.references().unaccounted(), 1u);
  ASSERT_EQ(remove({&fsdax_}, forced()).result.err(), ETIMEDOUT) << "first the report";
  auto options = forced();
  options.abandon = true;
  const auto outcome = remove({&fsdax_}, options);
  ASSERT_TRUE(outcome.result) << outcome.result.error().describe();
  EXPECT_EQ(outcome.reports.at(0).abandoned, 1u);
  EXPECT_EQ(fsdax_.references().abandoned(), 1u);
  EXPECT_EQ(fsdax_.state(), State::kDisabled);

  ASSERT_TRUE(fsdax_.enable());
  EXPECT_EQ(fsdax_.references().unaccounted(), 0u);
  expect_live(fsdax_);
  leaked.reset();  // late, and no harm to the new life
  EXPECT_EQ(fsdax_.references().unaccounted(), 0u);
  EXPECT_TRUE(remove({&fsdax_}, forced()).result);
}

TEST_F(RemovalLeakTest, RequestsAreNeverAbandoned) {
  const auto held = must(fsdax_.admit(Admission::kRequest));
  auto options = forced();
  options.abandon = true;
  EXPECT_EQ(remove({&fsdax_}, options).result.err(), ETIMEDOUT);
  expect_live(fsdax_);
}

}  // namespace
}  // namespace pmemd
