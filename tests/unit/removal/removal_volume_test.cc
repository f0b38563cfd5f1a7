// A leg that goes by force while its volume stays: what the kernel is asked, who is told, and what
// a failed removal leaves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/base/fault.h"
#include "core/range/range_set.h"
#include "core/removal/look.h"
#include "core/removal/target.h"
#include "tests/unit/device/volume_pool.h"
#include "tests/unit/removal/fake_kernel.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using State = Device::State;
constexpr uint64_t kChunk = 64 * kKiB;

// Notes the ranges, too.
class RangeKernel : public FakeKernel {
 public:
  using FakeKernel::FakeKernel;
  using Ranges = std::vector<FileRange>;

  Result<void> flush(uint64_t ino, FileRange range) override {
    flushed[ino].push_back(range);
    return FakeKernel::flush(ino, range);
  }
  Result<void> inval(uint64_t ino, FileRange range) override {
    invalidated[ino].push_back(range);
    return FakeKernel::inval(ino, range);
  }
  std::map<uint64_t, Ranges> flushed, invalidated;
};

class LegRemoval : public testing::Test {
 protected:
  LegRemoval() {
    pool_.enable_all();
    a_ = make_file(*volume_, "a");
    b_ = make_file(*volume_, "b");
    must(write_to(*volume_, a_, 0, std::string(4 * kChunk, 'a')));
    must(write_to(*volume_, b_, 0, std::string(kChunk, 'b')));
  }
  ~LegRemoval() override { FaultPoint::disarm_all(); }

  Device& leg(size_t i) { return *pool_.space(i); }
  static RemovalOptions forced() {
    RemovalOptions options;
    options.force = true;
    options.drain_timeout = std::chrono::milliseconds(1);
    return options;
  }
  RemovalOutcome remove(const std::vector<Device*>& devices, const RemovalOptions& options) {
    return remove_devices(devices, options, kernel_, events_);
  }
  Holder mapper(uint64_t ino, FileRange range) const {
    Holder holder;
    holder.pid = 1 << 23;  // nobody
    Mapping mapping;
    mapping.ino = ino;
    mapping.path = "/vol0/a";
    mapping.range = range;
    holder.mappings.push_back(std::move(mapping));
    return holder;
  }
  // What of a file lies on a leg, by the volume's own table.
  RangeKernel::Ranges on_leg(uint64_t ino, size_t which) {
    RangeSet<FileSpace> ranges;
    const auto request = must(volume_->admit(Admission::kRequest));
    for (const auto& [file, data] : must(request.fs().extents(ino))) {
      for (uint64_t at = 0; at < file.length(); at += kPageSize) {
        const auto page = DataRange::sized(data.begin + at, kPageSize);
        if (volume_->record().of_volume().table.map(page).at(0).leg != which) continue;
        ranges.insert(FileRange::sized(file.begin + at, kPageSize));
      }
    }
    return ranges.ranges();
  }
  void expect_files_readable() {
    EXPECT_EQ(read_from(*volume_, a_, {0, 4 * kChunk}), std::string(4 * kChunk, 'a'));
    EXPECT_EQ(read_from(*volume_, b_, {0, kChunk}), std::string(kChunk, 'b'));
  }

  VolumePool pool_{3};
  DevicePtr volume_ = pool_.make(VolumeType::kStriped, kChunk, pool_.spaces(0, 2));
  EventBus events_;
  RangeKernel kernel_{events_};
  uint64_t a_ = 0, b_ = 0;
};

TEST_F(LegRemoval, FlushesAndRevokesWhatLiesOnItAndNothingElse) {
  must(volume_->handles().add({.ino = a_, .writable = true}));
  must(volume_->handles().add({.ino = b_}));
  ASSERT_TRUE(volume_->leases().lend(a_, {0, 4 * kChunk}));
  kernel_.people = {mapper(a_, {0, 4 * kChunk})};
  const auto expected_a = on_leg(a_, 0), expected_b = on_leg(b_, 0);
  ASSERT_EQ(expected_a.size(), 2u) << "every second chunk";

  const auto outcome = remove({&leg(0)}, forced());
  ASSERT_TRUE(outcome.result) << outcome.result.error().describe();
  EXPECT_EQ(kernel_.flushed, (std::map<uint64_t, RangeKernel::Ranges>{{a_, expected_a}}))
      << "nobody writes b";
  std::map<uint64_t, RangeKernel::Ranges> expected{{a_, expected_a}};
  if (!expected_b.empty()) expected[b_] = expected_b;
  EXPECT_EQ(kernel_.invalidated, expected) << "once a contiguous range";
  EXPECT_EQ(volume_->leases().ranges(a_), on_leg(a_, 1)) << "the rest is lent still";

  const RemovalReport& report = outcome.reports.at(0);
  EXPECT_EQ(report.name_of_namespace, "namespace0.0");
  EXPECT_TRUE(report.disabled);
  EXPECT_EQ(report.holders.size(), 1u);
  EXPECT_EQ(report.files_flushed, 1u);
  EXPECT_EQ(report.files_revoked, expected.size());
  EXPECT_EQ(report.lent_bytes, 2 * kChunk);
  EXPECT_EQ(leg(0).state(), State::kDisabled);
  EXPECT_EQ(volume_->state(), State::kLive);
  std::vector<FileRange> told;
  for (const Event& event : kernel_.events()) {
    EXPECT_EQ(event.name_of_namespace, "namespace0.0");
    if (event.file) told.push_back(event.file->range);
  }
  EXPECT_EQ(told, expected_a);
  EXPECT_EQ(kernel_.events().back().kind, EventKind::kRemoved);
  must(leg(0).enable());
  expect_files_readable();
}

TEST_F(LegRemoval, WritebackComesThroughUntilTheLastPageIsDropped) {
  must(volume_->handles().add({.ino = a_, .writable = true}));
  const uint64_t at = on_leg(a_, 0).at(0).begin;
  kernel_.on_inval = [&](uint64_t ino) -> Result<void> {
    if (ino != a_) return {};
    EXPECT_EQ(leg(0).state(), State::kDying);
    EXPECT_TRUE(write_to(*volume_, a_, at, "new", Media::Writer::kWriteback));
    EXPECT_EQ(write_to(*volume_, a_, at, "old").err(), EIO);
    return {};
  };
  ASSERT_TRUE(remove({&leg(0)}, forced()).result);
  must(leg(0).enable());
  EXPECT_EQ(read_from(*volume_, a_, {at, at + 3}), "new");
}

TEST_F(LegRemoval, SurpriseLosesWhatWasNotWrittenAndCountsIt) {
  must(volume_->handles().add({.ino = a_, .writable = true}));
  const uint64_t at = on_leg(a_, 0).at(0).begin;
  kernel_.on_inval = [&](uint64_t ino) -> Result<void> {
    if (ino != a_) return {};
    EXPECT_EQ(write_to(*volume_, a_, at, "new", Media::Writer::kWriteback).err(), EIO);
    volume_->health().count_lost_writeback();
    return {};
  };
  auto options = forced();
  options.surprise = true;
  const auto outcome = remove({&leg(0)}, options);
  ASSERT_TRUE(outcome.result);
  EXPECT_THAT(kernel_.flushed, IsEmpty());
  EXPECT_EQ(outcome.reports.at(0).lost_writebacks, volume_->health().lost_writebacks());
  EXPECT_GT(outcome.reports.at(0).lost_writebacks, 0u);
  must(leg(0).enable());
  expect_files_readable();
}

TEST_F(LegRemoval, NotForcedIsRefusedWithTheVolumesName) {
  const auto outcome = remove({&leg(0)}, {});
  EXPECT_EQ(outcome.result.err(), EBUSY);
  EXPECT_THAT(outcome.result.error().message, HasSubstr("namespace0.0: in use by volume0"));
  EXPECT_THAT(kernel_.log(), IsEmpty());
  expect_files_readable();
}

TEST_F(LegRemoval, ADryRunTellsWhoWouldBeHit) {
  kernel_.people = {mapper(a_, {0, kChunk}), mapper(a_, {kChunk, 2 * kChunk})};
  RemovalOptions options;
  options.dry_run = true;
  const auto outcome = remove({&leg(0)}, options);
  ASSERT_TRUE(outcome.result);
  EXPECT_EQ(outcome.reports.at(0).holders.size(), 1u) << "the other chunk is on the other leg";
  EXPECT_EQ(leg(0).state(), State::kLive);
  EXPECT_THAT(kernel_.invalidated, IsEmpty());
}

TEST_F(LegRemoval, WhoEndsAtTheFirstStepIsInTheReport) {
  kernel_.on_holders = [&] {
    return leg(0).state() == State::kLive ? std::vector{mapper(a_, {0, kChunk})}
                                          : std::vector<Holder>();
  };
  const auto outcome = remove({&leg(0)}, forced());
  ASSERT_TRUE(outcome.result);
  EXPECT_EQ(outcome.reports.at(0).holders.size(), 1u);
}

// While it is looked at for the first time, writes of the volume's files go on.
TEST_F(LegRemoval, WhatHasLeftTheLegSinceTheFirstLookIsNotTakenAway) {
  const auto before = on_leg(a_, 0);
  ASSERT_EQ(before.size(), 2u);
  bool is_first = true;
  kernel_.on_holders = [&] {
    if (std::exchange(is_first, false)) {
      const auto request = must(volume_->admit(Admission::kRequest));
      must(request.fs().fallocate(a_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, before[0].begin,
                                  before[0].length()));
    }
    return std::vector<Holder>();
  };
  ASSERT_TRUE(remove({&leg(0)}, forced()).result);
  EXPECT_EQ(kernel_.invalidated.at(a_), RangeKernel::Ranges{before[1]});
}

TEST_F(LegRemoval, AtAnyFailingStepIsTakenBack) {
  for (const char* step : {"disable.kill", "disable.notify", "disable.unpin", "disable.flush",
                           "disable.revoke", "revoke.inval", "disable.drain", "release.unmap"}) {
    SCOPED_TRACE(step);
    ASSERT_TRUE(FaultPoint::arm(step, {}));
    EXPECT_FALSE(remove({&leg(0)}, forced()).result);
    EXPECT_EQ(leg(0).state(), State::kLive);
    EXPECT_EQ(leg(0).references().held(), 1u);
    EXPECT_EQ(leg(0).references().unaccounted(), 0u);
    expect_files_readable();
  }
}

TEST_F(LegRemoval, AHeldRequestOfTheVolumeHoldsItUp) {
  auto request = std::make_optional(must(volume_->admit(Admission::kRequest)));
  const auto outcome = remove({&leg(0)}, forced());
  EXPECT_EQ(outcome.result.err(), ETIMEDOUT);
  EXPECT_EQ(leg(0).state(), State::kLive);
  request.reset();
  EXPECT_TRUE(remove({&leg(0)}, forced()).result);
}

TEST_F(LegRemoval, APinnedRangeHoldsItUpAndAPinElsewhereDoesNot) {
  const uint64_t handle = must(volume_->handles().add({.ino = a_}));
  const uint64_t elsewhere = must(volume_->handles().pin(handle, 1, on_leg(a_, 1).at(0)));
  EXPECT_TRUE(remove({&leg(0)}, forced()).result);
  must(leg(0).enable());
  const uint64_t here = must(volume_->handles().pin(handle, 1, on_leg(a_, 0).at(0)));
  EXPECT_EQ(remove({&leg(0)}, forced()).result.err(), ETIMEDOUT);
  EXPECT_EQ(leg(0).state(), State::kLive);
  auto options = forced();
  options.abandon = true;
  EXPECT_TRUE(remove({&leg(0)}, options).result);
  for (const uint64_t pin : {elsewhere, here}) {
    must(volume_->handles().end_claim(handle, ReferenceKind::kPin, pin));
  }
}

TEST_F(LegRemoval, MappersOfWhatLiesOnItAreToldOnceARange) {
  const uint64_t handle = must(volume_->handles().add({.ino = a_}));
  must(volume_->handles().register_mapping(handle, 1, {0, 4 * kChunk}, 0x1000));
  ASSERT_TRUE(remove({&leg(0)}, forced()).result);
  std::vector<std::pair<MapperEventKind, FileRange>> told;
  while (const auto event = volume_->handles().events().read(handle)) {
    told.emplace_back(event->notice.kind, event->range);
  }
  const auto ranges = on_leg(a_, 0);
  EXPECT_THAT(told, ElementsAre(std::pair(MapperEventKind::kPreRemove, ranges.at(0)),
                                std::pair(MapperEventKind::kPreRemove, ranges.at(1)),
                                std::pair(MapperEventKind::kRemoved, ranges.at(0)),
                                std::pair(MapperEventKind::kRemoved, ranges.at(1))));
}

// The whole stack: the volume first, so that its writeback finds its legs.
TEST_F(LegRemoval, WithItsVolumeGoesAsAnyDevice) {
  must(volume_->handles().add({.ino = a_, .writable = true}));
  ASSERT_TRUE(volume_->leases().lend(a_, {0, 4 * kChunk}));
  kernel_.on_inval = [&](uint64_t) -> Result<void> {
    EXPECT_TRUE(write_to(*volume_, a_, 0, "new", Media::Writer::kWriteback));
    return {};
  };
  const auto outcome = remove({volume_.get(), &leg(1), &leg(0)}, forced());
  ASSERT_TRUE(outcome.result) << outcome.result.error().describe();
  for (const auto& report : outcome.reports) EXPECT_TRUE(report.disabled);
  EXPECT_EQ(kernel_.invalidated, (std::map<uint64_t, RangeKernel::Ranges>{{a_, {kWholeFile}}}));
  pool_.enable_all();
  EXPECT_EQ(read_from(*volume_, a_, {0, 3}), "new");
  EXPECT_EQ(pool_.pool().is_clean(leg(0).record().serial), false) << "in use";
}

TEST_F(LegRemoval, OfTheWholeStackKeepsLegsThatTheVolumeStillNeeds) {
  ASSERT_TRUE(FaultPoint::arm("release.unmap", {}));
  const auto outcome = remove({volume_.get(), &leg(1), &leg(0)}, forced());
  EXPECT_FALSE(outcome.result);
  for (Device* device : {volume_.get(), &leg(1), &leg(0)}) EXPECT_EQ(device->state(), State::kLive);
  expect_files_readable();
}

TEST_F(LegRemoval, OfANestedOneReachesTheOutermostVolumesFiles) {
  must(remove({volume_.get(), &leg(2), &leg(1), &leg(0)}, forced()).result);
  pool_.destroy(volume_);
  const DevicePtr inner = pool_.make(VolumeType::kStriped, kChunk, pool_.spaces(0, 2));
  const DevicePtr outer = pool_.make(VolumeType::kLinear, 0, {inner, pool_.space(2)});
  pool_.enable_all();
  const uint64_t ino = make_file(*outer, "n");
  const uint64_t bytes = outer->record().data_bytes() - kMiB;  // on all of the legs
  must(write_to(*outer, ino, 0, std::string(bytes, 'n')));
  const auto dead = [&] {
    uint64_t found = 0;
    for (uint64_t at = 0; at < bytes; at += kPageSize) {
      if (!read_from(*outer, ino, {at, at + 1})) found += kPageSize;
    }
    return found;
  };
  const auto invalidated = [&] {
    uint64_t found = 0;
    for (const FileRange& range : kernel_.invalidated.at(ino)) found += range.length();
    return found;
  };
  kernel_.invalidated.clear();
  ASSERT_TRUE(remove({&leg(1)}, forced()).result);
  EXPECT_EQ(kernel_.invalidated.size(), 1u);
  EXPECT_GT(kernel_.invalidated.at(ino).size(), 10u);
  EXPECT_EQ(invalidated(), dead());
  EXPECT_EQ(inner->state(), State::kLive);
  must(leg(1).enable());
  // The inner volume as a leg.
  kernel_.invalidated.clear();
  ASSERT_TRUE(remove({inner.get()}, forced()).result);
  EXPECT_EQ(invalidated(), dead());
  EXPECT_GT(dead(), VolumePool::kLegBytes) << "two legs' bytes, but for what is free";
  EXPECT_EQ(leg(0).references().held(), 0u);
  EXPECT_EQ(leg(0).state(), State::kLive);
  must(inner->enable());
  EXPECT_EQ(read_from(*outer, ino, {0, bytes}), std::string(bytes, 'n'));
}

// `pmemctl mappers namespace0.0` while that is being taken away: at every step it only looks.
TEST_F(LegRemoval, WhoLooksMeanwhileChangesNothing) {
  must(volume_->handles().add({.ino = a_, .writable = true}));
  ASSERT_TRUE(volume_->leases().lend(a_, {0, 4 * kChunk}));
  std::vector<State> states;
  const auto look = [&] {
    const State before = leg(0).state();
    states.push_back(before);
    const std::vector<const Device*> known = {&leg(0), &leg(1), volume_.get()};
    const auto looked = look_at_devices({&leg(0)}, known, kernel_);
    EXPECT_EQ(looked.reports.size(), 1u);
    EXPECT_EQ(leg(0).state(), before);
  };
  kernel_.on_event = [&](const Event&) { look(); };
  kernel_.on_flush = [&](uint64_t) -> Result<void> {
    look();
    return {};
  };
  kernel_.on_inval = [&](uint64_t) -> Result<void> {
    look();
    return {};
  };
  const auto outcome = remove({&leg(0)}, forced());
  ASSERT_TRUE(outcome.result) << outcome.result.error().describe();
  EXPECT_EQ(leg(0).state(), State::kDisabled);
  EXPECT_THAT(states, ::testing::Contains(State::kDying));
  EXPECT_EQ(states.back(), State::kDisabled) << "when it was told that it is gone";
}

// A volume that the caller doesn't keep may go while he looks.
TEST_F(LegRemoval, AVolumeThatIsNotKnownIsNotLookedAt) {
  EXPECT_EQ(volume_that_stays(leg(0), {}, {&leg(0), volume_.get()}), volume_.get());
  EXPECT_EQ(volume_that_stays(leg(0), {}, {&leg(0)}), nullptr);
}

}  // namespace
}  // namespace pmemd
