// A device whose memory fails: as its holder knows it, as its pages tell, and when it can't go on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/base/units.h"
#include "core/failure/memory_failure.h"
#include "tests/unit/device/device_pool.h"
#include "tests/unit/media/remembering_observer.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using State = Device::State;

class DeviceFailure : public testing::Test {
 protected:
  void enable_both() {
    must(fsdax_.enable());
    must(devdax_.enable());
  }
  // A file of the fsdax, and where it lies.
  std::pair<uint64_t, DataRange> make_file(const char* name, uint64_t pages) {
    const auto request = must(fsdax_.admit(Admission::kRequest));
    FileSystem& fs = request.fs();
    const uint64_t ino = must(fs.mknod(fs.root(), name, S_IFREG | 0600, 0, {})).ino;
    const std::string bytes(pages * kPageSize, 'a');
    must(fs.write(ino, 0, std::as_bytes(std::span(bytes))));
    const auto extents = must(fs.extents(ino));
    EXPECT_EQ(extents.size(), 1u);
    return {ino, extents[0].second};
  }
  int fail_memory(Device& device, DataRange range) {
    parts_.clear();
    const uint64_t before = device.references().held() + device.references().unaccounted();
    const int err =
        memory_failure(pool_.registry(), {device.memory().physical(range)}, 0, parts_).err();
    EXPECT_EQ(device.references().held() + device.references().unaccounted(), before);
    return err;
  }
  int notify(Device& device) {
    FailedParts parts;
    return device.dax().notify_failure({DaxDevice::kWholeDevice}, kMfMemPreRemove, parts).err();
  }

  DevicePool pool_;
  Device& fsdax_ = pool_.fsdax();
  Device& devdax_ = pool_.devdax();
  FailedParts parts_;
};

TEST_F(DeviceFailure, RangesAreTranslatedAndClippedToItsDataArea) {
  const uint64_t size = devdax_.record().data_bytes();
  const PhysRange all = devdax_.memory().physical({0, size});
  EXPECT_EQ(all.length(), size);
  EXPECT_EQ(devdax_.memory().data_of({all}), (DataRanges{{0, size}}));
  const PhysRanges ranges = {{0, all.begin},
                             {all.begin - kPageSize, all.begin + 512},
                             {all.end - 512, UINT64_MAX},
                             {all.end, all.end + kPageSize}};
  EXPECT_EQ(devdax_.memory().data_of(ranges), (DataRanges{{0, 512}, {size - 512, size}}));
  const RegionRange in_region = devdax_.record().of_namespace().in_region({512, 1024});
  EXPECT_EQ(in_region.begin,
            devdax_.record().of_namespace().range.begin + kNamespaceMetadataSize + 512);
  EXPECT_EQ(devdax_.record().of_namespace().in_data(in_region), (DataRange{512, 1024}));
  EXPECT_EQ(devdax_.record().of_namespace().in_data({0, UINT64_MAX}), (DataRange{0, size}));
  EXPECT_TRUE(devdax_.record().of_namespace().in_data({0, kPageSize}).empty());
}

TEST_F(DeviceFailure, TheHolderIsToldWhileTheDeviceIsLiveOrDyingAndNotWhenItIsDead) {
  EXPECT_EQ(notify(fsdax_), ENXIO) << "never enabled";
  enable_both();
  EXPECT_EQ(notify(fsdax_), 0);
  must(fsdax_.kill(false));
  EXPECT_EQ(notify(fsdax_), 0) << "before it goes is when holders are told";
  fsdax_.stop_writeback();
  EXPECT_EQ(notify(fsdax_), ENXIO);
  fsdax_.resurrect();
  EXPECT_EQ(notify(fsdax_), 0);
  take_down(fsdax_);
  EXPECT_EQ(notify(fsdax_), ENXIO);
  must(fsdax_.enable());
  EXPECT_EQ(notify(fsdax_), 0);
}

TEST_F(DeviceFailure, AFileSystemTellsItsFilesAndADevdaxHasNoHolder) {
  enable_both();
  EXPECT_EQ(notify(devdax_), EOPNOTSUPP);
  const auto [ino, data] = make_file("a", 8);
  EXPECT_EQ(fail_memory(fsdax_, {data.begin + kPageSize, data.begin + 3 * kPageSize}), 0);
  ASSERT_EQ(parts_.size(), 1u) << "whether it is mapped or not";
  EXPECT_EQ(parts_[0], (FailedPart{ino,
                                   {kPageSize, 3 * kPageSize},
                                   {data.begin + kPageSize, data.begin + 3 * kPageSize},
                                   false}));
  EXPECT_EQ(fail_memory(fsdax_, {data.end, data.end + kPageSize}), 0);
  EXPECT_THAT(parts_, IsEmpty()) << "free space is nobody's";
}

TEST_F(DeviceFailure, TheSuperblockIsTheRootsMetadata) {
  enable_both();
  const uint64_t size = fsdax_.record().data_bytes();
  EXPECT_EQ(fail_memory(fsdax_, {size - kPageSize, size}), 0);
  ASSERT_EQ(parts_.size(), 1u);
  EXPECT_TRUE(parts_[0].is_metadata);
  EXPECT_EQ(parts_[0].ino, fsdax_.root_ino());
}

TEST_F(DeviceFailure, ItsOwnMetadataOrADyingDeviceIsENXIO) {
  enable_both();
  for (Device* device : {&fsdax_, &devdax_}) {
    const PhysRange first = device->memory().physical({0, kPageSize});
    const PhysRange before = {first.begin - kPageSize, first.begin};
    EXPECT_EQ(memory_failure(pool_.registry(), {before}, 0, parts_).err(), ENXIO);
    must(device->kill(false));
    EXPECT_EQ(fail_memory(*device, {0, kPageSize}), ENXIO);
    device->resurrect();
    EXPECT_EQ(fail_memory(*device, {0, kPageSize}), 0);
  }
}

// Its pages are the one file's, whoever has touched them.
TEST_F(DeviceFailure, LastResortOfADevdaxIsItsFile) {
  enable_both();
  EXPECT_EQ(fail_memory(devdax_, {kPageSize, 5 * kPageSize}), 0);
  EXPECT_THAT(
      parts_,
      ElementsAre(FailedPart{
          devdax_.root_ino(), {kPageSize, 5 * kPageSize}, {kPageSize, 5 * kPageSize}, false}));
}

TEST_F(DeviceFailure, LastResortOfAnFsdaxIsWhatWasLentOfItsFiles) {
  enable_both();
  const auto [ino, data] = make_file("a", 8);
  make_file("b", 8);  // of which nothing was lent
  ASSERT_TRUE(fsdax_.leases().lend(ino, {2 * kPageSize, 4 * kPageSize}));
  ASSERT_TRUE(fsdax_.leases().lend(ino, {6 * kPageSize, 7 * kPageSize}));
  const uint64_t at = data.begin;
  const FailedParts expected = {
      FailedPart{
          ino, {2 * kPageSize, 4 * kPageSize}, {at + 2 * kPageSize, at + 4 * kPageSize}, false},
      FailedPart{
          ino, {6 * kPageSize, 7 * kPageSize}, {at + 6 * kPageSize, at + 7 * kPageSize}, false}};
  const DataRange all = {0, fsdax_.record().data_bytes()};
  const uint64_t serial = fsdax_.record().serial;
  for (const char* setting : {"rmap", "holder"}) {
    must(pool_.pool().set_settings(serial, {{setting, "no"}}));
    EXPECT_EQ(fail_memory(fsdax_, all), 0);
    EXPECT_EQ(parts_, expected) << setting;
    must(pool_.pool().set_settings(serial, {{setting, "yes"}}));
  }
  EXPECT_EQ(fail_memory(fsdax_, all), 0);
  EXPECT_EQ(parts_.size(), 3u) << "two files and the superblock";
  fsdax_.dax().drop_holder();
  EXPECT_EQ(fail_memory(fsdax_, all), 0);
  EXPECT_EQ(parts_, expected);
}

TEST_F(DeviceFailure, ShutDownRefusesAllButWritebackUntilItIsEnabledAnew) {
  enable_both();
  fsdax_.health().shut_down();
  EXPECT_TRUE(fsdax_.health().is_shut_down());
  EXPECT_EQ(fsdax_.admit(Admission::kRequest).err(), EIO);
  EXPECT_EQ(fsdax_.admit(Admission::kRead, {}).err(), EIO);
  EXPECT_EQ(fsdax_.admit(Admission::kWriteback).err(), 0);
  EXPECT_EQ(notify(fsdax_), 0) << "its holders are told still";
  must(fsdax_.kill(false));
  fsdax_.resurrect();
  EXPECT_EQ(fsdax_.admit(Admission::kRequest).err(), EIO)
      << "a removal that is taken back repairs nothing";
  take_down(fsdax_);
  must(fsdax_.enable());
  EXPECT_FALSE(fsdax_.health().is_shut_down());
  EXPECT_EQ(fsdax_.admit(Admission::kRequest).err(), 0);
}

TEST_F(DeviceFailure, AnObserverHearsOfAccessesOfLatentErrorsAndOfWhatWasCleared) {
  RememberingObserver observer;
  devdax_.memory().set_observer(&observer);
  enable_both();
  const DataRange sector = {4096, 4608};
  MediaErrors& errors = *devdax_.memory().media_errors().value();
  must(errors.inject({devdax_.record().of_namespace().in_region(sector)}, {}));
  const auto request = must(devdax_.admit(Admission::kRequest));
  std::vector<std::byte> bytes(512);
  EXPECT_EQ(request.media().read(sector.begin, bytes).err(), EIO);
  EXPECT_THAT(observer.latent, ElementsAre(std::pair(devdax_.root_ino(), sector)));
  must(errors.discover({devdax_.record().of_namespace().in_region(sector)}));
  must(request.media().write(sector.begin, bytes, Media::Writer::kProgram));
  EXPECT_THAT(observer.cleared, ElementsAre(std::pair(devdax_.root_ino(), std::vector{sector})));
  EXPECT_THAT(observer.accesses,
              ElementsAre(std::tuple(devdax_.root_ino(), sector, MediaAccess::kRead),
                          std::tuple(devdax_.root_ino(), sector, MediaAccess::kWrite)));
  EXPECT_FALSE(errors.is_bad(devdax_.record().of_namespace().in_region(sector)));
}

// They are the region's, not the device's.
TEST_F(DeviceFailure, ErrorsOutliveTheDeviceAndItsNamespace) {
  enable_both();
  const RegionRange in_region = devdax_.record().of_namespace().in_region({0, 512});
  must(devdax_.memory().media_errors().value()->inject({in_region}, {in_region}));
  take_down(devdax_);
  must(pool_.pool().destroy_namespace(devdax_.record().of_namespace()));
  EXPECT_TRUE(pool_.pool().media_errors(1)->is_bad(in_region));
  const auto next = must(pool_.pool().create_namespace(
      {.region = 1, .mode = NamespaceMode::kDevDax, .size_bytes = std::nullopt}));
  const auto device = pool_.make_device(next);
  must(device->enable());
  {
    const auto request = must(device->admit(Admission::kRequest));
    EXPECT_THAT(request.media().bad({0, kMiB}), ElementsAre(DataRange{0, 512}));
  }
  take_down(*device);
}

TEST_F(DeviceFailure, APoisonedSuperblockIsEUCLEANAndAPoisonedInfoBlockEIO) {
  enable_both();
  take_down(fsdax_);
  const uint64_t size = fsdax_.record().data_bytes();
  const RegionRange superblock = fsdax_.record().of_namespace().in_region({size - 512, size});
  must(fsdax_.memory().media_errors().value()->inject({superblock}, {superblock}));
  EXPECT_EQ(fsdax_.enable().err(), EUCLEAN);
  EXPECT_EQ(fsdax_.state(), State::kDisabled);
  must(pool_.pool().set_settings(fsdax_.record().serial, {{"on-metadata", "degraded"}}));
  EXPECT_EQ(fsdax_.enable().err(), 0);
  take_down(fsdax_);
  must(pool_.pool().set_settings(fsdax_.record().serial, {{"on-metadata", "shutdown"}}));
  EXPECT_EQ(fsdax_.enable().err(), EUCLEAN);
  must(fsdax_.memory().media_errors().value()->clear({superblock}));
  EXPECT_EQ(fsdax_.enable().err(), 0);
  take_down(fsdax_);
  const RegionRange info_block = RegionRange::sized(
      fsdax_.record().of_namespace().range.begin + kInfoBlockOffset, kInfoBlockSize);
  must(fsdax_.memory().media_errors().value()->inject({info_block}, {}));
  EXPECT_EQ(fsdax_.enable().err(), EIO);
  must(fsdax_.memory().media_errors().value()->uninject({info_block}));
  EXPECT_EQ(fsdax_.enable().err(), 0);
}

}  // namespace
}  // namespace pmemd
