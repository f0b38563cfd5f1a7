// Ranged failure as the core does it: what is recorded, revoked and told, in what order.
#include "core/poison/poison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <span>
#include <string>
#include <thread>

#include "core/base/fault.h"
#include "core/filesystem/superblock.h"
#include "tests/unit/poison/failure_fixture.h"
#include "tests/unit/removal/child.h"
#include "tests/unit/removal/tmpfs_file.h"

namespace pmemd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

constexpr uint64_t kFilePages = 8;

class PoisonTest : public FailureFixture {
 protected:
  PoisonTest() {
    file_ = make_file("file", kFilePages);
    const auto extents = must(must(fsdax_.admit(Admission::kRequest)).fs().extents(file_));
    EXPECT_EQ(extents.size(), 1u);
    data_ = extents.at(0).second;
    EXPECT_TRUE(fsdax_.leases().lend(file_, pages(0, kFilePages)));
    kernel_.forget_log();
  }

  uint64_t make_file(const std::string& name, uint64_t page_count) {
    const auto request = must(fsdax_.admit(Admission::kRequest));
    const auto attr = must(request.fs().mknod(fsdax_.root_ino(), name, S_IFREG | 0644, 0, {}));
    const std::string bytes(page_count * kPageSize, 'x');
    must(request.fs().write(attr.ino, 0, std::as_bytes(std::span(bytes))));
    fsdax_.lookups().count(attr.ino);
    return attr.ino;
  }
  static FileRange pages(uint64_t begin, uint64_t end) {
    return {begin * kPageSize, end * kPageSize};
  }
  DataRange data_of(FileRange range) const {
    return DataRange::sized(data_.begin + range.begin, range.length());
  }
  bool can_read(FileRange range) {
    return must(fsdax_.admit(Admission::kRequest)).fs().read(file_, range).has_value();
  }
  Result<void> write(FileRange range) {
    const std::string bytes(range.length(), 'y');
    return must(fsdax_.admit(Admission::kRequest))
        .fs()
        .write(file_, range.begin, std::as_bytes(std::span(bytes)));
  }
  Result<FailureReport> inject(FileRange range, bool latent = false) {
    return inject_error(fsdax_, {data_of(range)}, {.latent = latent, .saturate = true}, ports_);
  }
  // A descriptor that has registered all of the file.
  uint64_t open_and_map(FileRange range, uint64_t address) {
    const uint64_t handle = must(fsdax_.handles().add({.ino = file_, .pid = 1, .writable = true}));
    must(fsdax_.handles().register_mapping(handle, 1, range, address));
    return handle;
  }

  uint64_t file_ = 0;
  DataRange data_;
};

TEST_F(PoisonTest, RecordedFirstRevokedSecondToldLast) {
  bool was_readable = true;
  kernel_.on_inval = [&](uint64_t) -> Result<void> {
    was_readable = can_read(pages(2, 3));
    return {};
  };
  const auto report = must(inject(pages(2, 5)));
  EXPECT_FALSE(was_readable);
  EXPECT_THAT(kernel_.calls_in_order(),
              ElementsAre("poison namespace0.0", "inval " + FakeKernel::name(file_),
                          "poison namespace0.0"));
  EXPECT_THAT(kernel_.invals(), ElementsAre(Pair(file_, pages(2, 5)))) << "one ranged call";
  const auto& events = kernel_.events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].range, data_of(pages(2, 5)));
  EXPECT_FALSE(events[0].file);
  EXPECT_EQ(events[1].file->path, "/pmem0/file");
  EXPECT_EQ(events[1].file->range, pages(2, 5));
  EXPECT_EQ(report.seq, events[0].seq);
  EXPECT_EQ(report.bad_bytes, 3 * kPageSize);
  EXPECT_TRUE(can_read(pages(0, 2)));
  EXPECT_TRUE(can_read(pages(5, 8)));
}

TEST_F(PoisonTest, AListOfRangesIsOneFailure) {
  int looks = 0;
  kernel_.on_holders = [&] {
    ++looks;
    return std::vector{holder({mapping(file_, "/pmem0/file", pages(0, 8))})};
  };
  must(FaultPoint::arm("media.write-record", {.count = 9, .delay = std::chrono::milliseconds(1)}));
  const DataRanges ranges = {data_of(pages(0, 1)), data_of(pages(2, 4)), data_of(pages(6, 7))};
  const auto report = must(inject_error(fsdax_, ranges, {.saturate = true}, ports_));
  EXPECT_EQ(report.ranges, ranges);
  EXPECT_EQ(report.bad_bytes, 4 * kPageSize);
  EXPECT_EQ(report.holders.size(), 1u);
  EXPECT_EQ(looks, 2) << "before the record, and behind it";
  for (const auto& point : FaultPoint::list()) {
    if (point.name != "media.write-record") continue;
    EXPECT_EQ(point.left, 8u) << "one transaction";
  }
  EXPECT_THAT(kernel_.invals(), ElementsAre(Pair(file_, pages(0, 1)), Pair(file_, pages(2, 4)),
                                            Pair(file_, pages(6, 7))));
  EXPECT_EQ(kernel_.calls("poison"), 6u) << "of the device and of the file, each range once";
  EXPECT_TRUE(can_read(pages(1, 2)));
  EXPECT_FALSE(can_read(pages(6, 7)));
  EXPECT_EQ(must(clear_errors(fsdax_, ranges)), 4 * kPageSize);
  EXPECT_TRUE(can_read(pages(0, 8)));
}

// A touch ends its process from the record on: who is looked for only behind it may be gone.
TEST_F(PoisonTest, WhoIsHitByTheRecordIsInTheReport) {
  kernel_.on_holders = [&] {
    return can_read(pages(2, 3)) ? std::vector{holder({mapping(file_, "/pmem0/file", pages(0, 8))})}
                                 : std::vector<Holder>();
  };
  const auto report = must(inject(pages(2, 5)));
  ASSERT_EQ(report.holders.size(), 1u);
  EXPECT_EQ(report.holders[0].fate, Holder::Fate::kEnded);
  EXPECT_EQ(report.files.size(), 1u) << "found twice, told once";
  EXPECT_EQ(report.bad_bytes, 3 * kPageSize);
}

TEST_F(PoisonTest, ABadSectorTakesItsPageAway) {
  const auto report = must(inject({kPageSize + 600, kPageSize + 700}));
  EXPECT_EQ(report.bad_bytes, kSectorSize);
  EXPECT_EQ(kernel_.events().at(0).range, data_of({kPageSize + 512, kPageSize + 1024}));
  EXPECT_THAT(kernel_.invals(), ElementsAre(Pair(file_, pages(1, 2))));
}

TEST_F(PoisonTest, ARegisteredMappingIsToldInItsOwnCoordinates) {
  const uint64_t handle = open_and_map(pages(3, 8), 0x7f0000000000);
  const uint64_t stranger = open_and_map(pages(6, 8), 0x7e0000000000);
  const auto report = must(inject(pages(2, 5)));
  const auto event = fsdax_.handles().events().read(handle);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->notice.kind, MapperEventKind::kPoison);
  EXPECT_EQ(event->notice.seq, report.seq);
  EXPECT_EQ(event->range, pages(3, 5));
  EXPECT_EQ(event->address, 0x7f0000000000);
  EXPECT_FALSE(fsdax_.handles().events().read(handle)) << "once";
  EXPECT_FALSE(fsdax_.handles().events().read(stranger));
  EXPECT_EQ(report.files.at(0).told, 1u);
}

TEST_F(PoisonTest, LatentErrorsAreFoundByATouchAndToldThen) {
  std::vector<DataRange> found;
  // The hook is the daemon's; here it only notes.
  must(inject(pages(2, 3), /*latent=*/true));
  EXPECT_THAT(kernel_.events(), IsEmpty());
  EXPECT_THAT(kernel_.invals(), ElementsAre(Pair(file_, pages(2, 3)))) << "so that a touch asks";
  EXPECT_FALSE(can_read(pages(2, 3)));
  const auto report = must(discover_errors(fsdax_, {data_of(pages(0, 8))}, ports_));
  EXPECT_EQ(report.bad_bytes, kPageSize);
  EXPECT_EQ(kernel_.events().size(), 2u);
  EXPECT_EQ(must(discover_errors(fsdax_, {data_of(pages(0, 8))}, ports_)).bad_bytes, 0u) << "once";
}

TEST_F(PoisonTest, UninjectingTakesTheErrorNotTheKnowledge) {
  must(inject(pages(2, 3), /*latent=*/true));
  ASSERT_TRUE(uninject_error(fsdax_, {data_of(pages(2, 3))}));
  EXPECT_TRUE(can_read(pages(2, 3)));
  must(inject(pages(4, 5)));
  ASSERT_TRUE(uninject_error(fsdax_, {data_of(pages(4, 5))}));
  EXPECT_FALSE(can_read(pages(4, 5)));
  ASSERT_TRUE(write(pages(4, 5)));
  EXPECT_TRUE(can_read(pages(4, 5)));
}

TEST_F(PoisonTest, ClearedErrorsReadAsZerosAndAreTold) {
  const uint64_t handle = open_and_map(pages(0, 8), 0x1000);
  must(inject(pages(2, 3)));
  (void)fsdax_.handles().events().read(handle);
  EXPECT_EQ(must(clear_errors(fsdax_, {data_of(pages(0, 8))})), kPageSize);
  EXPECT_TRUE(can_read(pages(2, 3)));
  tell_cleared(fsdax_, {data_of(pages(2, 3))}, ports_);
  EXPECT_EQ(kernel_.events().back().kind, EventKind::kCleared);
  EXPECT_EQ(kernel_.events().back().file->range, pages(2, 3));
  EXPECT_EQ(fsdax_.handles().events().read(handle)->notice.kind, MapperEventKind::kCleared);
}

TEST_F(PoisonTest, LookingChangesNothing) {
  const auto report = must(look_at_ranges(fsdax_, {data_of(pages(2, 5))}, ports_));
  EXPECT_EQ(report.files.at(0).range, pages(2, 5));
  EXPECT_EQ(report.files.at(0).path, "/pmem0/file");
  EXPECT_TRUE(can_read(pages(2, 5)));
  EXPECT_THAT(kernel_.calls_in_order(), IsEmpty());
}

TEST_F(PoisonTest, ADisabledDeviceIsOnlyRecorded) {
  take_down(fsdax_);
  kernel_.forget_log();
  const auto report = must(inject(pages(2, 3)));
  EXPECT_THAT(report.files, IsEmpty());
  EXPECT_EQ(kernel_.calls("inval"), 0u);
  EXPECT_EQ(clear_errors(fsdax_, {data_of(pages(2, 3))}).err(), ENXIO);
  ASSERT_TRUE(fsdax_.enable());
  EXPECT_FALSE(can_read(pages(2, 3)));
}

TEST_F(PoisonTest, DevdaxHasNoHolderAndGoesByItsPages) {
  const auto report = must(inject_error(devdax_, {{8 * kPageSize, 32 * kPageSize}}, {}, ports_));
  EXPECT_THAT(kernel_.invals(), ElementsAre(Pair(devdax_.root_ino(), pages(8, 32))));
  EXPECT_EQ(report.files.at(0).path, "/dax1.0");
}

TEST_F(PoisonTest, ALostSuperblockShutsTheFileSystemDown) {
  const DataRange superblock = superblock_range(fsdax_.record().data_bytes());
  const auto report = must(inject_error(fsdax_, {superblock}, {.saturate = true}, ports_));
  EXPECT_TRUE(report.shut_down);
  EXPECT_TRUE(report.files.at(0).is_metadata);
  EXPECT_EQ(kernel_.events().back().kind, EventKind::kShutdown);
  EXPECT_EQ(fsdax_.admit(Admission::kRequest).err(), EIO);
  EXPECT_TRUE(fsdax_.admit(Admission::kWriteback)) << "what was stored isn't lost";
  take_down(fsdax_);
  EXPECT_EQ(fsdax_.enable().err(), EUCLEAN);
  must(fsdax_.memory().media_errors().value()->clear(
      {fsdax_.record().of_namespace().in_region(superblock)}));
  EXPECT_TRUE(fsdax_.enable());
}

TEST_F(PoisonTest, ALostSuperblockOfOneThatCarriesOnDegradedIsOnlyTold) {
  must(pool_.pool().set_settings(fsdax_.record().serial, {{"on-metadata", "degraded"}}));
  const DataRange superblock = superblock_range(fsdax_.record().data_bytes());
  const auto report = must(inject_error(fsdax_, {superblock}, {.saturate = true}, ports_));
  EXPECT_FALSE(report.shut_down);
  EXPECT_TRUE(report.files.at(0).is_metadata);
  EXPECT_EQ(kernel_.events().back().kind, EventKind::kPoison);
  EXPECT_TRUE(fsdax_.admit(Admission::kRequest));
}

TEST_F(PoisonTest, UnlessSaturatedTheFirstClearUnitOfEachBlockIsBad) {
  must(pool_.pool().set_settings(fsdax_.record().serial, {{"clear-unit", "256"}}));
  fsdax_.memory().apply_settings();
  const DataRange blocks = data_of({0, 1024});
  const auto injected = [&] {
    return fsdax_.memory().errors(DeviceMemory::ErrorKind::kInjected, blocks);
  };
  must(inject_error(fsdax_, {blocks}, {}, ports_));
  EXPECT_EQ(injected(), (std::vector{DataRange::sized(blocks.begin, 256),
                                     DataRange::sized(blocks.begin + 512, 256)}));
  EXPECT_EQ(fsdax_.memory().errors(DeviceMemory::ErrorKind::kKnown, blocks), std::vector{blocks})
      << "the record is in sectors";
  must(inject_error(fsdax_, {blocks}, {.saturate = true}, ports_));
  EXPECT_EQ(injected(), std::vector{blocks});
}

TEST_F(PoisonTest, WhatIsNotWithinTheDeviceIsRefused) {
  const uint64_t size = fsdax_.record().data_bytes();
  EXPECT_EQ(inject_error(fsdax_, {{size - 512, size + 1}}, {}, ports_).err(), EINVAL);
  EXPECT_EQ(inject_error(fsdax_, {{4096, 4096}}, {}, ports_).err(), EINVAL);
  EXPECT_EQ(inject_error(fsdax_, {}, {}, ports_).err(), EINVAL);
  EXPECT_EQ(inject_error(fsdax_, {{0, 512}, {size, size + 1}}, {}, ports_).err(), EINVAL);
  EXPECT_EQ(look_at_ranges(fsdax_, {{size, size + 512}}, ports_).err(), EINVAL);
  EXPECT_EQ(uninject_error(fsdax_, {{0, 0}}).err(), EINVAL);
}

TEST_F(PoisonTest, AfterAFailureAtAnyStepTheRangeIsBadAndTheCallCanBeRepeated) {
  for (const char* step : {"inject.record", "inject.failure", "inject.takeover", "inject.revoke",
                           "inject.tell", "media.write-record"}) {
    SCOPED_TRACE(step);
    ASSERT_TRUE(FaultPoint::arm(step, {}));
    EXPECT_EQ(inject(pages(2, 5)).err(), EIO);
    const bool is_recorded =
        step != std::string("inject.record") && step != std::string("media.write-record");
    EXPECT_EQ(can_read(pages(2, 5)), !is_recorded);
    const auto report = must(inject(pages(2, 5)));
    EXPECT_EQ(report.files.size(), 1u);
    EXPECT_EQ(fsdax_.references().unaccounted(), 0u);
    ASSERT_TRUE(write(pages(2, 5)));
  }
}

// --- takeovers

class TakeoverTest : public PoisonTest {
 protected:
  TakeoverTest() {
    handle_ = must(fsdax_.handles().add({.ino = file_, .pid = 1, .writable = true}));
    must(fsdax_.handles().take_over(handle_, 1, pages(0, 8), std::chrono::seconds(10)));
    other_ = open_and_map(pages(0, 8), 0x1000);
  }
  // Who is asked does this, and answers.
  Result<FailureReport> inject_while(const std::function<void(const MapperEvent&)>& handle) {
    std::thread asked([&] {
      std::optional<MapperEvent> event;
      while (!(event = fsdax_.handles().events().read(handle_))) std::this_thread::yield();
      handle(*event);
    });
    auto report = inject(pages(2, 5));
    asked.join();
    return report;
  }
  void answer(const MapperEvent& event, MapperEvents::Answer answer) {
    EXPECT_TRUE(fsdax_.handles().events().answer(handle_, event.notice.seq, event.id, answer));
  }

  uint64_t handle_ = 0;
  uint64_t other_ = 0;
};

TEST_F(TakeoverTest, WhoRepairsIsTheOnlyOneWhoHears) {
  const auto report = must(inject_while([&](const MapperEvent& event) {
    EXPECT_EQ(event.notice.kind, MapperEventKind::kTakeover);
    EXPECT_EQ(event.range, pages(2, 5));
    EXPECT_THAT(kernel_.invals(), IsEmpty()) << "the pages are still mapped";
    EXPECT_TRUE(write(pages(2, 5)));
    answer(event, MapperEvents::Answer::kDone);
  }));
  EXPECT_TRUE(report.files.at(0).is_handled);
  EXPECT_THAT(kernel_.invals(), IsEmpty());
  EXPECT_FALSE(fsdax_.handles().events().read(other_));
  EXPECT_TRUE(can_read(pages(0, 8)));
}

TEST_F(TakeoverTest, WhatIsHandledButStillBadIsTakenAwaySilently) {
  must(inject_while([&](const MapperEvent& event) {
    EXPECT_TRUE(write(pages(2, 3)));
    answer(event, MapperEvents::Answer::kDone);
  }));
  EXPECT_THAT(kernel_.invals(), ElementsAre(Pair(file_, pages(3, 5))));
  EXPECT_FALSE(fsdax_.handles().events().read(other_));
}

TEST_F(TakeoverTest, ARefusalLeadsToTheLastResort) {
  const auto report = must(inject_while(
      [&](const MapperEvent& event) { answer(event, MapperEvents::Answer::kRefused); }));
  EXPECT_FALSE(report.files.at(0).is_handled);
  EXPECT_THAT(kernel_.invals(), ElementsAre(Pair(file_, pages(2, 5))));
  EXPECT_EQ(fsdax_.handles().events().read(other_)->range, pages(2, 5));
}

// Of two files in one range: the first is answered only when the second has been asked.
TEST_F(TakeoverTest, AllAreAskedBeforeAnyIsWaitedFor) {
  const uint64_t second = make_file("second", 1);
  const uint64_t handle = must(fsdax_.handles().add({.ino = second, .pid = 1, .writable = true}));
  must(fsdax_.handles().take_over(handle, 1, pages(0, 1), std::chrono::seconds(10)));
  const DataRange data =
      must(must(fsdax_.admit(Admission::kRequest)).fs().extents(second)).at(0).second;
  std::thread asked([&] {
    std::optional<MapperEvent> last;
    while (!(last = fsdax_.handles().events().read(handle))) std::this_thread::yield();
    std::optional<MapperEvent> first;
    while (!(first = fsdax_.handles().events().read(handle_))) std::this_thread::yield();
    answer(*first, MapperEvents::Answer::kDone);
    EXPECT_TRUE(fsdax_.handles().events().answer(handle, last->notice.seq, last->id,
                                                 MapperEvents::Answer::kDone));
  });
  const DataRange both = {std::min(data.begin, data_.begin), std::max(data.end, data_.end)};
  must(inject_error(fsdax_, {both}, {}, ports_));
  asked.join();
}

TEST_F(TakeoverTest, WhoEndsWhileItIsAskedIsOutOfIt) {
  must(inject_while([&](const MapperEvent&) { fsdax_.handles().remove(handle_); }));
  EXPECT_THAT(kernel_.invals(), ElementsAre(Pair(file_, pages(2, 5))));
  EXPECT_EQ(fsdax_.handles().events().read(other_)->range, pages(2, 5));
}

// --- how much it takes

// As many calls and events for a TiB as for a page; the bytes are never looked at.
TEST(PoisonSizeTest, ATebibyteIsOneRangeForEverybody) {
  const TemporaryDirectory directory{TemporaryDirectory::Place::kInMemory};
  auto pool = must(Pool::create(directory.path() + "/pool", 16 * kMiB, Reservation::kSparse));
  const auto region = must(pool->create_region(1024 * kGiB, Reservation::kSparse));
  const auto record = must(pool->create_namespace(
      {.region = region.id, .mode = NamespaceMode::kDevDax, .size_bytes = std::nullopt}));
  PagemapRegistry registry;
  const auto device = std::make_shared<Device>(*pool, registry, region, record);
  EventBus events;
  FakeKernel kernel(events);
  const FailurePorts ports{registry, kernel, events, [&](uint64_t) { return device; }};
  ASSERT_TRUE(device->enable());
  const uint64_t size = record.data_bytes();
  ASSERT_TRUE(device->leases().lend(device->root_ino(), {0, size}));
  const uint64_t handle = must(device->handles().add({.ino = device->root_ino(), .pid = 1}));
  must(device->handles().register_mapping(handle, 1, {0, size}, 0x7f0000000000));

  for (const uint64_t bytes : {kPageSize, size}) {
    SCOPED_TRACE(bytes);
    kernel.forget_log();
    const auto report = must(inject_error(*device, {{0, bytes}}, {}, ports));
    EXPECT_EQ(report.bad_bytes, bytes);
    EXPECT_EQ(kernel.calls("inval"), 1u);
    EXPECT_EQ(kernel.calls("poison"), 2u) << "the device's, the file's";
    EXPECT_EQ(device->handles().events().read(handle)->range.length(), bytes);
    EXPECT_FALSE(device->handles().events().read(handle));
    EXPECT_LE(device->memory().media_errors().value()->known({0, region.size_bytes}).size(), 1u);
  }
  device->handles().remove(handle);
  take_down(*device);
}

}  // namespace
}  // namespace pmemd
