// Volumes as devices: files over several legs, legs that go and come back, and how a failure of
// memory finds the files above. What is failed here is compared with a plain model, page by page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/failure/memory_failure.h"
#include "tests/unit/device/volume_pool.h"

namespace pmemd {
namespace {

using ::testing::HasSubstr;
using State = Device::State;
constexpr uint64_t kChunk = 64 * kKiB;

std::string text_of(char what, uint64_t bytes) { return std::string(bytes, what); }

class VolumeTest : public testing::Test {
 protected:
  VolumePool pool_{4};
  Device& leg(size_t i) { return *pool_.space(i); }
  DevicePtr striped() { return pool_.make(VolumeType::kStriped, kChunk, pool_.spaces(0, 2)); }
  static bool is_complete(const Device& volume) {
    return std::ranges::all_of(volume.memory().legs(),
                               [](const auto& leg) { return leg->state() == State::kLive; });
  }
  // As a forced removal, without its kernel.
  static void remove(Device& device) {
    must(device.kill(false));
    must(device.wait_requests(Clock::now()));
    device.stop_writeback();
    must(device.release(Clock::now()));
  }
};

TEST_F(VolumeTest, WantsItsLegsEnabledFirst) {
  const DevicePtr volume = striped();
  must(leg(0).enable());
  const auto refused = volume->enable();
  EXPECT_EQ(refused.err(), ENXIO);
  EXPECT_THAT(refused.error().message, HasSubstr("leg namespace1.0"));
  EXPECT_EQ(volume->state(), State::kDisabled);
  EXPECT_EQ(leg(0).references().held(), 0u) << "nothing was kept";
  must(leg(1).enable());
  EXPECT_TRUE(volume->enable());
  EXPECT_TRUE(is_complete(*volume));
  EXPECT_EQ(volume->enable().err(), EBUSY);
}

TEST_F(VolumeTest, FilesLieOnAllLegsAndAreThereAgain) {
  const DevicePtr volume = striped();
  pool_.enable_all();
  const uint64_t ino = make_file(*volume, "a");
  EXPECT_EQ(inode_serial(ino), volume->record().serial);
  const std::string text = text_of('a', 5 * kChunk) + text_of('b', 3 * kChunk);
  ASSERT_TRUE(write_to(*volume, ino, 100, text));
  remove(*volume);
  EXPECT_EQ(pool_.pool().is_clean(volume->record().serial), true);
  EXPECT_EQ(volume->admit(Admission::kRequest).err(), EIO);
  must(volume->enable());
  EXPECT_EQ(must(read_from(*volume, ino, {100, 100 + text.size()})), text);
  Device& first = leg(0);
  EXPECT_FALSE(first.admit(Admission::kMedia, {})->media().bad({0, 1}).size());
}

TEST_F(VolumeTest, HoldsOneReferenceOfEachLegThatTellsWhoHasIt) {
  const DevicePtr volume = striped();
  pool_.enable_all();
  EXPECT_EQ(leg(0).references().held(), 1u);
  EXPECT_EQ(leg(0).references().unaccounted(), 0u);
  const auto list = leg(0).references().list(10);
  ASSERT_EQ(list.references.size(), 1u);
  EXPECT_EQ(to_string(list.references[0].kind), "volume");
  EXPECT_EQ(list.count(ReferenceKind::kVolume), 1u);
  remove(*volume);
  EXPECT_EQ(leg(0).references().held(), 0u);
  EXPECT_TRUE(leg(0).references().list(10).references.empty());
}

TEST_F(VolumeTest, ALegShowsNothingAndAdmitsNobody) {
  const DevicePtr volume = striped();
  pool_.enable_all();
  EXPECT_EQ(leg(0).above(), volume.get());
  EXPECT_FALSE(leg(0).is_shown());
  EXPECT_TRUE(volume->is_shown());
  EXPECT_EQ(leg(0).admit(Admission::kRequest).err(), EIO);
  EXPECT_EQ(leg(0).admit(Admission::kWriteback).err(), EIO);
  EXPECT_EQ(leg(0).admit(Admission::kRead, {.ino = leg(0).root_ino()}).err(), EIO);
  EXPECT_EQ(leg(0).handles().add({.ino = leg(0).root_ino()}).err(), EIO);
  leg(0).lookups().count(leg(0).root_ino());
  leg(0).lookups().forget(leg(0).root_ino(), 1);  // one from before it became a leg
  EXPECT_TRUE(leg(0).admit(Admission::kMedia, {}));
}

TEST_F(VolumeTest, HasNoMemoryOfItsOwn) {
  const DevicePtr volume = striped();
  const DeviceMemory& memory = volume->memory();
  EXPECT_EQ(memory.media_errors().err(), ENXIO);
  EXPECT_EQ(memory.media_errors().error().message, "volume0: a volume: memory is of its legs");
  EXPECT_TRUE(memory.physical({0, kPageSize}).empty());
  EXPECT_TRUE(memory.data_of({leg(0).memory().physical({0, kPageSize})}).empty());
  ASSERT_EQ(memory.legs().size(), 2u);
  EXPECT_EQ(memory.legs()[1].get(), &leg(1));
  EXPECT_FALSE(memory.uses_legs());
  pool_.enable_all();
  EXPECT_TRUE(memory.uses_legs());
  EXPECT_TRUE(leg(0).memory().legs().empty());
  EXPECT_FALSE(leg(0).memory().uses_legs());
}

TEST_F(VolumeTest, IsInTheWayOfALegThatIsWantedIdle) {
  const DevicePtr volume = striped();
  pool_.enable_all();
  const auto refused = leg(1).kill(/*only_if_idle=*/true);
  EXPECT_EQ(refused.err(), EBUSY);
  EXPECT_THAT(refused.error().message, HasSubstr("in use by volume0"));
  remove(*volume);
  EXPECT_TRUE(leg(1).kill(/*only_if_idle=*/true));
}

TEST_F(VolumeTest, ALegThatGoesTakesItsOwnBytesAndBringsThemBack) {
  const DevicePtr volume = striped();
  pool_.enable_all();
  const uint64_t ino = make_file(*volume, "a");
  const std::string text = text_of('x', 6 * kChunk);
  ASSERT_TRUE(write_to(*volume, ino, 0, text));
  ASSERT_TRUE(leg(0).kill(false));
  EXPECT_EQ(leg(0).dax().has_holder(), true);
  EXPECT_EQ(write_to(*volume, ino, 0, text_of('w', 1)).err(), EIO);
  EXPECT_TRUE(write_to(*volume, ino, 0, text_of('w', 1), Media::Writer::kWriteback));
  leg(0).stop_writeback();
  EXPECT_EQ(write_to(*volume, ino, 0, text_of('v', 1), Media::Writer::kWriteback).err(), EIO);
  must(leg(0).release(Clock::now()));
  EXPECT_FALSE(is_complete(*volume));
  EXPECT_EQ(volume->state(), State::kLive);
  std::set<int> errors;
  uint64_t gone = 0;
  for (uint64_t at = 0; at < text.size(); at += kPageSize) {
    const auto read = read_from(*volume, ino, {at, at + kPageSize});
    errors.insert(read.err());
    if (read.err() == EIO) gone += kPageSize;
  }
  EXPECT_EQ(errors, (std::set{0, EIO}));
  EXPECT_EQ(gone, text.size() / 2) << "every second chunk";
  must(leg(0).enable());
  EXPECT_TRUE(is_complete(*volume));
  EXPECT_EQ(leg(0).references().held(), 1u);
  EXPECT_EQ(must(read_from(*volume, ino, {0, text.size()})), "w" + text.substr(1));
}

TEST_F(VolumeTest, ALegWhoseRemovalIsTakenBackServesOn) {
  const DevicePtr volume = striped();
  pool_.enable_all();
  const uint64_t ino = make_file(*volume, "a");
  ASSERT_TRUE(write_to(*volume, ino, 0, text_of('x', 2 * kChunk)));
  must(leg(0).kill(false));
  leg(0).stop_writeback();
  leg(0).resurrect();
  EXPECT_TRUE(read_from(*volume, ino, {0, 2 * kChunk}));
  EXPECT_EQ(leg(0).references().held(), 1u);
  EXPECT_EQ(leg(0).references().unaccounted(), 0u);
}

TEST_F(VolumeTest, ALegWaitsForTheRequestsOfAllThatStandsOnIt) {
  const DevicePtr inner = striped();
  const DevicePtr outer = pool_.make(VolumeType::kLinear, 0, {inner, pool_.space(2)});
  pool_.enable_all();
  {
    const auto request = must(outer->admit(Admission::kRequest));
    EXPECT_EQ(leg(0).wait_requests(Clock::now()).err(), ETIMEDOUT);
    EXPECT_EQ(inner->wait_requests(Clock::now()).err(), ETIMEDOUT);
    EXPECT_TRUE(leg(3).wait_requests(deadline_after(std::chrono::seconds(20)))) << "it is no leg";
  }
  EXPECT_TRUE(leg(0).wait_requests(deadline_after(std::chrono::seconds(20))));
}

TEST_F(VolumeTest, ADestroyedVolumesLegsAreNamespacesAgain) {
  const DevicePtr volume = striped();
  pool_.enable_all();
  const uint64_t ino = make_file(*volume, "a");
  ASSERT_TRUE(write_to(*volume, ino, 0, text_of('x', 6 * kChunk)));
  remove(*volume);
  for (size_t i : {0, 1}) remove(leg(i));
  pool_.destroy(volume);
  for (size_t i : {0, 1}) {
    EXPECT_EQ(leg(i).above(), nullptr);
    ASSERT_TRUE(leg(i).enable());
    EXPECT_TRUE(leg(i).is_shown());
    const uint64_t own = make_file(leg(i), "own");
    ASSERT_TRUE(allocate(leg(i), own, {0, VolumePool::kLegBytes - kMiB}));
    EXPECT_EQ(must(read_from(leg(i), own, {0, kMiB})), std::string(kMiB, '\0'));
    FailedParts parts;
    EXPECT_TRUE(leg(i).dax().notify_failure({DaxDevice::kWholeDevice}, 0, parts));
    EXPECT_FALSE(parts.empty()) << "its own file system is its holder again";
  }
}

// Of a WRITE that reaches over several extents what can be stored is, whichever fails.
TEST_F(VolumeTest, WritebackOverExtentsOnSeveralLegsStoresAllThatItCan) {
  const DevicePtr volume = pool_.make(VolumeType::kLinear, 0, pool_.spaces(0, 2));
  pool_.enable_all();
  const uint64_t ino = make_file(*volume, "a"), filler = make_file(*volume, "b");
  std::vector<size_t> legs;  // by page: where it lies
  while (legs.empty() || legs.back() == legs.front()) {
    const uint64_t at = legs.size() * kPageSize;
    ASSERT_LT(at, kMiB);
    must(write_to(*volume, ino, at, text_of('x', kPageSize)));
    must(allocate(*volume, filler, {at * 64, (at + kPageSize) * 64}));
    const auto request = must(volume->admit(Admission::kRequest));
    const DataRange last = must(request.fs().extents(ino)).back().second;
    legs.push_back(volume->record().of_volume().table.map(last).back().leg);
  }
  std::string expected;
  for (const size_t where : legs) expected += text_of(where == legs.front() ? 'x' : 'y', kPageSize);
  remove(leg(legs.front()));
  const auto written =
      write_to(*volume, ino, 0, text_of('y', expected.size()), Media::Writer::kWriteback);
  EXPECT_EQ(written.err(), EIO);
  must(leg(legs.front()).enable());
  EXPECT_EQ(must(read_from(*volume, ino, {0, expected.size()})), expected);
}

// What is freed while a leg is away can't be zeroed, so the next mount must do it.
TEST_F(VolumeTest, WhatIsFreedOnALegThatIsAwayIsZeroedByTheNextMount) {
  const DevicePtr volume = striped();
  pool_.enable_all();
  const uint64_t ino = make_file(*volume, "a");
  ASSERT_TRUE(write_to(*volume, ino, 0, text_of('x', 8 * kChunk)));
  remove(leg(0));
  {
    const auto request = must(volume->admit(Admission::kRequest));
    must(request.fs().unlink(request.fs().root(), "a"));
  }
  volume->lookups().forget(ino, 1);
  must(leg(0).enable());
  remove(*volume);
  EXPECT_EQ(pool_.pool().is_clean(volume->record().serial), false);
  must(volume->enable());
  const uint64_t next = make_file(*volume, "b");
  const uint64_t most = volume->record().data_bytes() - kMiB;
  ASSERT_TRUE(allocate(*volume, next, {0, most}));
  EXPECT_EQ(must(read_from(*volume, next, {0, most})).find_first_not_of('\0'), std::string::npos);
}

// An allocator that has met a leg that is away looks elsewhere: all of the other leg can be had.
TEST_F(VolumeTest, AnAllocationOnALegThatIsAwayIsEioAndTheNextOneIsElsewhere) {
  const DevicePtr volume = pool_.make(VolumeType::kLinear, 0, pool_.spaces(0, 2));
  pool_.enable_all();
  remove(leg(0));
  const uint64_t ino = make_file(*volume, "a");
  uint64_t stored = 0;
  int failed = 0;
  for (int i = 0; i < 10'000 && stored < VolumePool::kLegBytes - kMiB; ++i) {
    const auto written = write_to(*volume, ino, stored, text_of('x', kChunk));
    if (written) {
      stored += kChunk;
    } else {
      ASSERT_EQ(written.err(), EIO);
      ++failed;
    }
  }
  EXPECT_GE(stored, VolumePool::kLegBytes - kMiB) << failed << " failed";
  const auto whole = allocate(*volume, ino, {0, volume->record().data_bytes() - kMiB});
  EXPECT_TRUE(whole.err() == EIO || whole.err() == ENOSPC) << whole.err();
  EXPECT_EQ(must(read_from(*volume, ino, {0, stored})), text_of('x', stored));
}

TEST_F(VolumeTest, LegsInAnotherOrderAreSeen) {
  for (const VolumeType type : kVolumeTypes) {
    SCOPED_TRACE(to_string(type));
    const size_t first = type == VolumeType::kLinear ? 0 : 2;
    const uint64_t chunk = type == VolumeType::kLinear ? 0 : kChunk;
    const DevicePtr volume = pool_.make(type, chunk, pool_.spaces(first, first + 2));
    for (const DevicePtr& leg : volume->memory().legs()) must(leg->enable());
    must(volume->enable());
    remove(*volume);
    for (const DevicePtr& leg : volume->memory().legs()) remove(*leg);
    volume->memory().free_legs();
    auto wrong = volume->record().of_volume();
    std::swap(wrong.legs[0], wrong.legs[1]);
    Device swapped(pool_.pool(), pool_.registry(), wrong,
                   {pool_.space(first + 1), pool_.space(first)});
    for (const DevicePtr& leg : swapped.memory().legs()) must(leg->enable());
    EXPECT_EQ(swapped.enable().err(), EUCLEAN);
    EXPECT_EQ(swapped.state(), State::kDisabled);
    EXPECT_EQ(leg(first).references().held(), 0u);
    for (const DevicePtr& leg : swapped.memory().legs()) remove(*leg);
  }
}

// --- failure: the parts that are found equal those of a model that knows each page

using Page = std::pair<uint64_t, uint64_t>;  // of a file: inode, offset

// Notes what it is told, then has the file system tell.
class CountingHolder : public DaxHolder {
 public:
  explicit CountingHolder(Device& volume) : volume_(volume) {
    volume.dax().drop_holder();
    must(volume.dax().set_holder(*this));
  }
  ~CountingHolder() override { volume_.dax().drop_holder(); }
  Result<void> notify_failure(const DataRanges& ranges, unsigned /*flags*/,
                              FailedParts& parts) override {
    calls.push_back(ranges);
    PMEMD_ASSIGN(const auto request, volume_.admit(Admission::kWriteback));
    return request.fs().owners(ranges, parts);
  }
  std::vector<DataRanges> calls;

 private:
  Device& volume_;
};

class StackFailure : public VolumeTest, public testing::WithParamInterface<bool> {
 protected:
  // linear(striped(n0, n1), striped(n2, n3)), or linear(striped(n0 … n3)).
  DevicePtr make_stack() {
    std::vector<DevicePtr> inner;
    if (GetParam()) {
      inner = {pool_.make(VolumeType::kStriped, kChunk, pool_.spaces(0, 2)),
               pool_.make(VolumeType::kStriped, 2 * kChunk, pool_.spaces(2, 4))};
    } else {
      inner = {pool_.make(VolumeType::kStriped, kChunk, pool_.spaces(0, 4))};
    }
    DevicePtr outer = pool_.make(VolumeType::kLinear, 0, inner);
    pool_.enable_all();
    return outer;
  }

  // By its own arithmetic, layer by layer: the namespace, and the page in its data area.
  std::pair<size_t, uint64_t> where(uint64_t page) const {
    const size_t wide = GetParam() ? 2 : 4;
    const uint64_t inner_bytes = wide * VolumePool::kLegBytes;
    const size_t inner = page / inner_bytes;
    const uint64_t chunk = inner == 0 ? kChunk : 2 * kChunk;
    const uint64_t in_inner = page % inner_bytes;
    const uint64_t number = in_inner / chunk;
    return {inner * wide + number % wide, number / wide * chunk + in_inner % chunk};
  }

  void fill(Device& volume) {
    std::vector<uint64_t> inos;
    inos.reserve(12);
    for (int i = 0; i < 12; ++i) inos.push_back(make_file(volume, "f" + std::to_string(i)));
    for (int i = 0; i < 150; ++i) {
      const uint64_t begin = random_() % (4 * kMiB) / kPageSize * kPageSize;
      const uint64_t length = (1 + random_() % 40) * kPageSize;
      (void)allocate(volume, inos[random_() % inos.size()], FileRange::sized(begin, length));
    }
    const auto request = must(volume.admit(Admission::kRequest));
    for (const uint64_t ino : inos) {
      for (const auto& [file, data] : must(request.fs().extents(ino))) {
        for (uint64_t at = 0; at < file.length(); at += kPageSize) {
          owner_[data.begin + at] = {ino, file.begin + at};
        }
      }
    }
    owner_[volume.record().data_bytes() - kPageSize] = {volume.root_ino(), 0};  // the superblock
    for (uint64_t page = 0; page < volume.record().data_bytes(); page += kPageSize) {
      on_volume_[where(page)] = page;
    }
  }

  unsigned seed_ = std::random_device()();
  std::mt19937 random_{seed_};
  std::map<uint64_t, Page> owner_;                             // of the volume's pages
  std::map<std::pair<size_t, uint64_t>, uint64_t> on_volume_;  // namespace, its page → volume's
};
INSTANTIATE_TEST_SUITE_P(Shapes, StackFailure, testing::Bool(), [](const auto& one) {
  return std::string(one.param ? "LinearOfTwoStriped" : "LinearOfOneStriped");
});

TEST_P(StackFailure, FindsThePartsOfAPlainModelAndTellsEachHolderOnceARange) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  const DevicePtr volume = make_stack();
  fill(*volume);
  CountingHolder holder(*volume);
  for (int round = 0; round < 60; ++round) {
    const size_t space = random_() % 4;
    const uint64_t pages = VolumePool::kLegBytes / kPageSize;
    const uint64_t first = random_() % pages;
    const uint64_t count = 1 + random_() % std::min<uint64_t>(pages - first, 200);
    const auto failed = DataRange::sized(first * kPageSize, count * kPageSize);

    std::set<Page> expected;
    RangeSet<DataSpace> expected_calls;
    for (uint64_t page = failed.begin; page < failed.end; page += kPageSize) {
      const auto found = on_volume_.find({space, page});
      if (found == on_volume_.end()) continue;
      expected_calls.insert(DataRange::sized(found->second, kPageSize));
      if (owner_.contains(found->second)) expected.insert(owner_.at(found->second));
    }
    holder.calls.clear();
    FailedParts parts;
    must(memory_failure(pool_.registry(), {leg(space).memory().physical(failed)}, kMfActionRequired,
                        parts));

    std::set<Page> told;
    for (const FailedPart& part : parts) {
      EXPECT_EQ(part.is_metadata, part.ino == volume->root_ino());
      EXPECT_EQ(part.file.length(), part.data.length());
      for (uint64_t at = 0; at < part.file.length(); at += kPageSize) {
        EXPECT_TRUE(told.emplace(part.ino, part.file.begin + at).second) << "told twice";
        EXPECT_EQ(owner_.at(part.data.begin + at), Page(part.ino, part.file.begin + at));
      }
    }
    ASSERT_EQ(told, expected);
    ASSERT_EQ(holder.calls, expected_calls.empty()
                                ? std::vector<DataRanges>()
                                : std::vector<DataRanges>{expected_calls.ranges()})
        << "one call, each contiguous range once, in order";
    ASSERT_EQ(leg(space).references().table().held(), 0u);
    ASSERT_EQ(leg(space).references().unaccounted(), 0u);
  }
}

TEST_P(StackFailure, OfAWholeLegFindsAllThatLiesOnIt) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  const DevicePtr volume = make_stack();
  fill(*volume);
  for (size_t space = 0; space < 4; ++space) {
    std::set<Page> expected, told;
    for (const auto& [page, owner] : owner_) {
      if (where(page).first == space) expected.insert(owner);
    }
    FailedParts parts;
    must(leg(space).dax().notify_failure({DaxDevice::kWholeDevice}, kMfMemPreRemove, parts));
    for (const FailedPart& part : parts) {
      for (uint64_t at = 0; at < part.file.length(); at += kPageSize) {
        EXPECT_TRUE(told.emplace(part.ino, part.file.begin + at).second);
      }
    }
    EXPECT_EQ(told, expected);
  }
}

TEST_P(StackFailure, OfALegWhoseVolumeIsDisabledFindsNobody) {
  const DevicePtr volume = make_stack();
  fill(*volume);
  remove(*volume);
  FailedParts parts;
  EXPECT_TRUE(memory_failure(pool_.registry(), {leg(0).memory().physical({0, kMiB})}, 0, parts));
  EXPECT_TRUE(parts.empty());
}

}  // namespace
}  // namespace pmemd
