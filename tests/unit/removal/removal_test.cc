// The steps of a removal, as the kernel sees them, and what each leaves when it fails.
#include "core/removal/removal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "tests/unit/removal/removal_fixture.h"

namespace pmemd {
namespace {

using Log = FakeKernel::Log;

class RemovalTest : public RemovalFixture {
 protected:
  static std::vector<std::string> steps(const RemovalReport& report) {
    std::vector<std::string> names;
    for (const auto& step : report.steps) names.push_back(step.name);
    return names;
  }
};

TEST_F(RemovalTest, GoesStepByStepAndDropsPagesOnlyBehindTheFlush) {
  lend(fsdax_, 5, {0, 8192});
  lend(fsdax_, 6, {0, 4096});
  lend(fsdax_, 6, {8192, 12288});
  must(fsdax_.handles().add({.ino = ino(fsdax_, 5), .writable = true}));
  must(fsdax_.handles().add({.ino = ino(fsdax_, 6)}));
  kernel_.people = {holder({mapping(ino(fsdax_, 5), "/pmem0/a")})};

  const auto outcome = remove({&fsdax_}, forced());
  ASSERT_TRUE(outcome.result) << outcome.result.error().describe();
  EXPECT_EQ(kernel_.log(),
            (Log{"pre-remove namespace0.0", "pre-remove namespace0.0", "flush 1:5",
                 "hide namespace0.0", "inval 1:5", "inval 1:6", "removed namespace0.0"}));
  EXPECT_TRUE(kernel_.whole_files_only()) << "one ranged call, not one a page";
  ASSERT_EQ(outcome.reports.size(), 1u);
  const RemovalReport& report = outcome.reports[0];
  EXPECT_EQ(report.name_of_namespace, "namespace0.0");
  EXPECT_TRUE(report.disabled);
  EXPECT_FALSE(report.dry_run);
  EXPECT_FALSE(report.surprise);
  EXPECT_EQ(report.files_flushed, 1u);
  EXPECT_EQ(report.files_revoked, 2u);
  EXPECT_EQ(report.lent_ranges, 3u);
  EXPECT_EQ(report.lent_bytes, 16384u);
  EXPECT_EQ(report.pages_left, 0u);
  EXPECT_EQ(report.requests_left, 0u);
  EXPECT_EQ(report.holders.size(), 1u);
  EXPECT_TRUE(report.killed.empty());
  EXPECT_EQ(steps(report), (std::vector<std::string>{"kill", "notify", "unpin", "migrate", "flush",
                                                     "revoke", "end", "drain", "release"}));
  EXPECT_EQ(fsdax_.state(), State::kDisabled);
  expect_live(devdax_);
  EXPECT_TRUE(fsdax_.enable()) << "with the handles that are still open";
}

TEST_F(RemovalTest, WritebackIsAcceptedUntilTheLastPageIsDroppedAndNothingElse) {
  lend(fsdax_, 5, {0, 4096});
  must(fsdax_.handles().add({.ino = ino(fsdax_, 5), .writable = true}));
  const auto expect_dying = [&] {
    EXPECT_EQ(fsdax_.state(), State::kDying);
    EXPECT_TRUE(fsdax_.admit(Admission::kWriteback));
    EXPECT_EQ(fsdax_.admit(Admission::kRequest).err(), EIO);
    EXPECT_EQ(fsdax_.handles().add({}).err(), EIO);
  };
  kernel_.on_event = [&](const Event& event) {
    if (event.kind == EventKind::kPreRemove) expect_dying();
  };
  kernel_.on_flush = [&](uint64_t) -> Result<void> {
    expect_dying();
    return {};
  };
  kernel_.on_inval = [&](uint64_t) -> Result<void> {
    expect_dying();
    EXPECT_EQ(fsdax_.leases().totals().ranges, 1u) << "given back when it is proven";
    return {};
  };
  ASSERT_TRUE(remove({&fsdax_}, forced()).result);
  EXPECT_EQ(kernel_.calls("flush"), 1u);
  EXPECT_EQ(fsdax_.admit(Admission::kWriteback).err(), EIO);
  EXPECT_EQ(fsdax_.leases().totals().ranges, 0u);
}

TEST_F(RemovalTest, SurpriseFlushesNothingAndRefusesWriteback) {
  lend(devdax_, 1, {0, 4096});
  must(devdax_.handles().add({.ino = devdax_.root_ino(), .writable = true}));
  kernel_.on_inval = [&](uint64_t) -> Result<void> {
    EXPECT_EQ(devdax_.state(), State::kDead);
    EXPECT_EQ(devdax_.admit(Admission::kWriteback).err(), ENXIO);
    devdax_.health().count_lost_writeback();
    return {};
  };
  auto options = forced();
  options.surprise = true;
  const auto outcome = remove({&devdax_}, options);
  ASSERT_TRUE(outcome.result);
  EXPECT_EQ(kernel_.calls("flush"), 0u);
  EXPECT_EQ(kernel_.calls("inval"), 2u) << "a page whose laundering failed stays the first time";
  const RemovalReport& report = outcome.reports.at(0);
  EXPECT_TRUE(report.surprise);
  EXPECT_EQ(report.files_flushed, 0u);
  EXPECT_EQ(report.files_revoked, 1u);
  EXPECT_EQ(report.lost_writebacks, 2u);
}

TEST_F(RemovalTest, HoldersAreLookedForBeforeAndBehindTheKillAndAgainOnlyBehindAWait) {
  lend(fsdax_, 5, {0, 4096});
  const auto reader = must(fsdax_.handles().add({.ino = ino(fsdax_, 5)}));
  kernel_.people = {holder({mapping(ino(fsdax_, 5), "/pmem0/a")})};
  ASSERT_TRUE(remove({&fsdax_}, forced()).result);
  EXPECT_EQ(kernel_.walks(), 2) << "before and behind the kill; nothing was waited for";

  ASSERT_TRUE(fsdax_.enable());
  fsdax_.handles().remove(reader);
  lend(fsdax_, 5, {0, 4096});
  must(fsdax_.handles().add({.ino = ino(fsdax_, 5), .writable = true}));
  kernel_.on_flush = [&](uint64_t) -> Result<void> {  // a child that was forked meanwhile
    kernel_.people.push_back(holder({mapping(ino(fsdax_, 5), "/pmem0/a")}));
    return {};
  };
  const auto outcome = remove({&fsdax_}, forced());
  ASSERT_TRUE(outcome.result);
  EXPECT_EQ(kernel_.walks(), 5);
  EXPECT_EQ(outcome.reports.at(0).holders.size(), 2u) << "who came during the flush is told of";
}

TEST_F(RemovalTest, TheFirstLookIsBehindTheLastOpenAndBeforeAnyRequestFails) {
  int looks = 0;
  kernel_.on_holders = [&] {
    EXPECT_EQ(fsdax_.handles().add({}).err(), EIO) << "nobody comes behind the look";
    EXPECT_EQ(fsdax_.admit(Admission::kRequest).has_value(), ++looks == 1)
        << "nobody is hit before it";
    return std::vector<Holder>();
  };
  ASSERT_TRUE(remove({&fsdax_}, forced()).result);
  EXPECT_EQ(looks, 2);
}

TEST_F(RemovalTest, WhoCouldNotBeKilledLetsOthersOpenAgain) {
  ASSERT_TRUE(devdax_.kill(/*only_if_idle=*/true));  // another's removal stopped half-way
  EXPECT_EQ(remove({&fsdax_, &devdax_}, forced()).result.err(), ENXIO);
  expect_live(fsdax_);
  fsdax_.handles().remove(must(fsdax_.handles().add({})));
  EXPECT_FALSE(devdax_.handles().add({}));
  devdax_.resurrect();
}

TEST_F(RemovalTest, FileThatCannotBeFlushedInBulkIsLeftToTheInval) {
  lend(fsdax_, 5, {0, 4096});
  must(fsdax_.handles().add({.ino = ino(fsdax_, 5), .writable = true}));
  for (const int err : {EPERM, ENOENT, EIO, ENOSPC}) {
    kernel_.on_flush = [err](uint64_t) -> Result<void> { return fail(err); };
    const auto outcome = remove({&fsdax_}, forced());
    ASSERT_TRUE(outcome.result) << err;
    EXPECT_EQ(outcome.reports.at(0).files_flushed, 0u);
    EXPECT_EQ(outcome.reports.at(0).files_revoked, 1u);
    must(fsdax_.enable());
    lend(fsdax_, 5, {0, 4096});
  }
}

// What it has stored would be taken from a mapper that nobody has written back.
TEST_F(RemovalTest, FlushThatTheKernelDoesNotAnswerTakesItAllBack) {
  lend(fsdax_, 5, {0, 4096});
  must(fsdax_.handles().add({.ino = ino(fsdax_, 5), .writable = true}));
  kernel_.on_flush = [](uint64_t) -> Result<void> { return fail(ETIMEDOUT, "flush"); };
  EXPECT_EQ(remove({&fsdax_}, forced()).result.err(), ETIMEDOUT);
  EXPECT_EQ(kernel_.calls("inval"), 0u);
  expect_live(fsdax_);
  kernel_.on_flush = nullptr;
  EXPECT_TRUE(remove({&fsdax_}, forced()).result);
}

TEST_F(RemovalTest, InodeThatTheKernelDoesNotKnowIsNoError) {
  lend(fsdax_, 5, {0, 4096});
  kernel_.on_inval = [](uint64_t) -> Result<void> { return fail(ENOENT); };
  EXPECT_TRUE(remove({&fsdax_}, forced()).result);
  EXPECT_EQ(kernel_.calls("inval"), 1u);
}

TEST_F(RemovalTest, InvalThatFailsTakesItAllBackAndASecondCallRemoves) {
  lend(fsdax_, 5, {0, 4096});
  kernel_.on_inval = [](uint64_t) -> Result<void> { return fail(EIO, "inval"); };
  const auto outcome = remove({&fsdax_}, forced());
  EXPECT_EQ(outcome.result.err(), EIO);
  EXPECT_FALSE(outcome.reports.at(0).disabled);
  EXPECT_EQ(kernel_.calls("show"), 1u) << "its name was hidden";
  EXPECT_EQ(kernel_.calls("enabled"), 1u) << "who was told that it goes is told that it stays";
  EXPECT_EQ(fsdax_.leases().totals().ranges, 1u);
  expect_live(fsdax_);
  kernel_.on_inval = nullptr;
  EXPECT_TRUE(remove({&fsdax_}, forced()).result);
  EXPECT_EQ(fsdax_.state(), State::kDisabled);
  EXPECT_TRUE(fsdax_.enable());
}

TEST_F(RemovalTest, TellsOfTheWholeAndOfEachMappedPartOnce) {
  const auto a = mapping(ino(fsdax_, 5), "/pmem0/a", {0, 8192});
  const auto other_part = mapping(ino(fsdax_, 5), "/pmem0/a", {8192, 12288});
  const auto b = mapping(ino(fsdax_, 6), "/pmem0/b", {0, 8192});
  kernel_.people = {holder({a, other_part}), holder({a, b}),
                    holder({}, {{ino(fsdax_, 7), "/c", 3}})};
  ASSERT_TRUE(remove({&fsdax_}, forced()).result);
  const auto& events = kernel_.events();
  ASSERT_EQ(events.size(), 5u);
  const DataRange whole{0, fsdax_.record().data_bytes()};
  std::vector<std::pair<std::string, FileRange>> files;
  for (const Event& event : events) {
    EXPECT_EQ(event.name_of_namespace, "namespace0.0");
    EXPECT_EQ(event.range, whole);
    if (event.file) files.emplace_back(event.file->path, event.file->range);
  }
  EXPECT_FALSE(events.front().file.has_value());
  EXPECT_EQ(events.front().kind, EventKind::kPreRemove);
  EXPECT_EQ(events.back().kind, EventKind::kRemoved);
  EXPECT_FALSE(events.back().file.has_value());
  std::ranges::sort(files);
  EXPECT_EQ(files,
            (std::vector<std::pair<std::string, FileRange>>{
                {"/pmem0/a", {0, 8192}}, {"/pmem0/a", {8192, 12288}}, {"/pmem0/b", {0, 8192}}}));
}

TEST_F(RemovalTest, SeveralDevicesTakeEachStepTogether) {
  lend(fsdax_, 5, {0, 4096});
  lend(devdax_, 1, {0, 4096});
  must(fsdax_.handles().add({.ino = ino(fsdax_, 5), .writable = true}));
  must(devdax_.handles().add({.ino = ino(devdax_, 1), .writable = true}));
  kernel_.people = {
      holder({mapping(ino(fsdax_, 5), "/pmem0/a"), mapping(ino(devdax_, 1), "/dax1.0")}),
      holder({}, {{ino(devdax_, 1), "/dax1.0", 3}})};
  const auto outcome = remove({&fsdax_, &devdax_}, forced());
  ASSERT_TRUE(outcome.result);
  EXPECT_EQ(kernel_.log(), (Log{"pre-remove namespace0.0", "pre-remove namespace0.0",
                                "pre-remove namespace1.0", "pre-remove namespace1.0", "flush 1:5",
                                "flush 2:1", "hide namespace0.0", "hide namespace1.0", "inval 1:5",
                                "inval 2:1", "removed namespace0.0", "removed namespace1.0"}));
  ASSERT_EQ(outcome.reports.size(), 2u);
  // Each report has its device's part of a holder, and only the holders that have one.
  ASSERT_EQ(outcome.reports[0].holders.size(), 1u);
  EXPECT_EQ(outcome.reports[0].holders[0].mappings.size(), 1u);
  EXPECT_EQ(outcome.reports[0].holders[0].mappings[0].path, "/pmem0/a");
  ASSERT_EQ(outcome.reports[1].holders.size(), 2u);
  EXPECT_EQ(outcome.reports[1].holders[0].mappings[0].path, "/dax1.0");
  EXPECT_EQ(outcome.reports[1].holders[1].open_files.size(), 1u);
}

TEST_F(RemovalTest, NoneEnabledIsEnxio) {
  EXPECT_EQ(remove({}, forced()).result.err(), ENXIO);
  take_down(fsdax_);
  const auto outcome = remove({&fsdax_}, forced());
  EXPECT_EQ(outcome.result.err(), ENXIO);
  EXPECT_NE(outcome.result.error().message.find("namespace0.0"), std::string::npos);
  EXPECT_TRUE(outcome.reports.empty());
  EXPECT_TRUE(kernel_.log().empty());
}

TEST_F(RemovalTest, DisabledOnesAmongOthersAreLeftOut) {
  take_down(fsdax_);
  const auto outcome = remove({&fsdax_, &devdax_}, forced());
  ASSERT_TRUE(outcome.result);
  ASSERT_EQ(outcome.reports.size(), 1u);
  EXPECT_EQ(outcome.reports[0].name_of_namespace, "namespace1.0");
}

TEST_F(RemovalTest, IdleOneNeedsNoForceAndNoTime) {
  lend(fsdax_, 5, {0, 4096});  // read once, closed since
  RemovalOptions options;
  options.drain_timeout = std::chrono::milliseconds(0);
  EXPECT_TRUE(remove({&fsdax_}, options).result);
  EXPECT_EQ(kernel_.calls("flush"), 0u) << "nobody has it open for writing";
  EXPECT_EQ(kernel_.calls("inval"), 1u);
}

// --- requests and references that don't end in time

TEST_F(RemovalTest, RequestThatIsHeldTimesOutWithBothLiveAndASecondCallRemoves) {
  lend(fsdax_, 5, {0, 4096});
  {
    const auto held = must(fsdax_.admit(
        Admission::kRequest, {.what = "READ", .pid = getpid(), .ino = 7, .range = {0, 1}}));
    const auto outcome = remove({&fsdax_, &devdax_}, forced());
    EXPECT_EQ(outcome.result.err(), ETIMEDOUT);
    EXPECT_NE(outcome.result.error().message.find("namespace0.0: 1 request in flight"),
              std::string::npos);
    EXPECT_FALSE(outcome.result.error().hint.empty());
    EXPECT_EQ(outcome.reports.at(0).requests_left, 1u);
    EXPECT_FALSE(outcome.reports.at(0).disabled);
    ASSERT_EQ(outcome.reports.at(0).in_the_way.size(), 1u) << "and it says what it is";
    EXPECT_EQ(outcome.reports.at(0).in_the_way[0].what, "READ");
    EXPECT_NE(outcome.result.error().message.find(std::to_string(getpid())), std::string::npos);
    EXPECT_EQ(outcome.reports.at(1).requests_left, 0u);
    expect_live(fsdax_);
    expect_live(devdax_);
    EXPECT_TRUE(kernel_.log().empty()) << "what was lent isn't known yet: nothing is revoked";
    EXPECT_EQ(remove({&fsdax_, &devdax_}, forced()).result.err(), ETIMEDOUT);
  }
  EXPECT_TRUE(remove({&fsdax_, &devdax_}, forced()).result);
  EXPECT_EQ(fsdax_.state(), State::kDisabled);
  EXPECT_EQ(devdax_.state(), State::kDisabled);
  EXPECT_EQ(kernel_.calls("inval"), 1u);
  EXPECT_TRUE(fsdax_.enable());
}

TEST_F(RemovalTest, RequestsLeftAreToldOfEachDevice) {
  const auto a = must(fsdax_.admit(Admission::kRequest));
  const auto b = must(devdax_.admit(Admission::kRequest));
  const auto c = must(devdax_.admit(Admission::kRequest));
  const auto outcome = remove({&fsdax_, &devdax_}, forced());
  EXPECT_EQ(outcome.result.err(), ETIMEDOUT);
  EXPECT_EQ(outcome.reports.at(0).requests_left, 1u);
  EXPECT_EQ(outcome.reports.at(1).requests_left, 2u);
}

TEST_F(RemovalTest, WritebackThatIsHeldAtASurpriseTimesOut) {
  lend(fsdax_, 5, {0, 4096});
  std::optional<Device::Request> held;
  kernel_.on_event = [&](const Event&) {
    if (!held) held = must(fsdax_.admit(Admission::kWriteback));
  };
  auto options = forced();
  options.surprise = true;
  const auto outcome = remove({&fsdax_}, options);
  EXPECT_EQ(outcome.result.err(), ETIMEDOUT);
  EXPECT_EQ(outcome.reports.at(0).requests_left, 1u);
  EXPECT_EQ(fsdax_.state(), State::kLive);
  EXPECT_EQ(kernel_.calls("inval"), 0u);
  kernel_.on_event = nullptr;
  held.reset();
  EXPECT_TRUE(remove({&fsdax_}, options).result);
  EXPECT_EQ(kernel_.calls("inval"), 2u);
}

TEST_F(RemovalTest, WritebackThatIsHeldAtTheDrainTimesOutLiveWithNothingLent) {
  lend(fsdax_, 5, {0, 4096});
  std::optional<Device::Request> held;
  kernel_.on_inval = [&](uint64_t) -> Result<void> {
    held = must(fsdax_.admit(Admission::kWriteback));
    return {};
  };
  EXPECT_EQ(remove({&fsdax_}, forced()).result.err(), ETIMEDOUT);
  EXPECT_EQ(fsdax_.leases().totals().ranges, 0u);
  expect_live(fsdax_);
  held.reset();
  kernel_.forget_log();
  const auto outcome = remove({&fsdax_}, forced());
  EXPECT_TRUE(outcome.result);
  EXPECT_TRUE(outcome.reports.at(0).disabled);
  EXPECT_EQ(kernel_.calls("inval"), 0u) << "nothing is left to revoke";
  EXPECT_EQ(kernel_.calls("removed"), 1u);
}

TEST_F(RemovalTest, ReferenceThatIsHeldTimesOutAtTheReleaseAndASecondCallRemoves) {
  const auto region = must(pool_.pool().region(fsdax_.record().of_namespace().region));
  const Pfn pfn{(region.base_address + fsdax_.record().of_namespace().range.begin) / kPageSize};
  auto held = pool_.registry().get_dev_pagemap(pfn);
  ASSERT_TRUE(held);
  const auto outcome = remove({&fsdax_, &devdax_}, forced());
  EXPECT_EQ(outcome.result.err(), ETIMEDOUT);
  EXPECT_NE(outcome.result.error().message.find("1 reference that"), std::string::npos);
  EXPECT_FALSE(outcome.reports.at(0).disabled);
  EXPECT_EQ(outcome.reports.at(0).unaccounted, 1u);
  EXPECT_TRUE(outcome.reports.at(1).disabled) << "the others go all the same";
  expect_live(fsdax_);
  EXPECT_EQ(kernel_.calls("removed"), 1u);
  held.reset();
  EXPECT_TRUE(remove({&fsdax_, &devdax_}, forced()).result);
  EXPECT_EQ(kernel_.calls("removed"), 2u);
  EXPECT_TRUE(fsdax_.enable());
}

TEST_F(RemovalTest, WhatCannotBeMadeDurableIsToldAndTheDeviceIsRemoved) {
  pool_.sql(
      "CREATE TRIGGER broken BEFORE UPDATE OF clean ON namespaces WHEN new.serial = 1"
      " BEGIN SELECT RAISE(FAIL, 'no'); END");
  const auto outcome = remove({&fsdax_, &devdax_}, forced());
  EXPECT_FALSE(outcome.result);
  EXPECT_NE(outcome.result.err(), ETIMEDOUT);
  EXPECT_TRUE(outcome.reports.at(0).disabled);
  EXPECT_TRUE(outcome.reports.at(1).disabled);
  EXPECT_EQ(kernel_.calls("removed"), 2u);
  pool_.sql("DROP TRIGGER broken");
}

}  // namespace
}  // namespace pmemd
