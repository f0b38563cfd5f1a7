// Enabling: what it leads to, and what is left when one of its steps fails.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "core/device/device.h"
#include "tests/unit/device/device_pool.h"

namespace pmemd {
namespace {

using State = Device::State;

class DeviceEnableTest : public testing::Test {
 protected:
  Pfn first_pfn(const Device& device) {
    const auto region = must(pool_.pool().region(device.record().of_namespace().region));
    return {(region.base_address + device.record().of_namespace().range.begin) / kPageSize};
  }
  bool is_clean(const Device& device) {
    return must(pool_.pool().is_clean(device.record().serial));
  }

  // After a failure everything is as before, and nothing stands in the way of the next attempt.
  void expect_untouched(Device& device) {
    EXPECT_EQ(device.state(), State::kDisabled);
    EXPECT_EQ(device.admit(Admission::kRequest).err(), device.content().gone_errno());
    EXPECT_EQ(device.admit(Admission::kWriteback).err(), device.content().gone_errno());
    EXPECT_EQ(pool_.registry().get_dev_pagemap(first_pfn(device)).get(), nullptr);
    EXPECT_EQ(device.kill(false).err(), ENXIO);
  }

  DevicePool pool_;
  Device& fsdax_ = pool_.fsdax();
  Device& devdax_ = pool_.devdax();
};

TEST_F(DeviceEnableTest, RegistersTheWholeNamespaceUnderItsPhysicalAddresses) {
  for (Device* device : {&fsdax_, &devdax_}) {
    ASSERT_TRUE(device->enable());
    const uint64_t pages = device->record().of_namespace().range.length() / kPageSize;
    const uint64_t first = first_pfn(*device).value;
    for (const uint64_t pfn : {first, first + pages - 1}) {
      const PagemapRef map = pool_.registry().get_dev_pagemap({pfn});
      ASSERT_TRUE(map);
      EXPECT_EQ(map->name(), device->record().name());
      EXPECT_EQ(map->type(), device->content().memory_type());
    }
    EXPECT_EQ(pool_.registry().get_dev_pagemap({first - 1}).get(), nullptr);
    EXPECT_EQ(pool_.registry().get_dev_pagemap({first + pages}).get(), nullptr);
  }
}

TEST_F(DeviceEnableTest, IsBusyWhenLiveAndTakesBackARemovalThatStoppedHalfWay) {
  ASSERT_TRUE(fsdax_.enable());
  EXPECT_EQ(fsdax_.enable().err(), EBUSY);
  const auto expect_live = [&] {
    EXPECT_EQ(fsdax_.state(), State::kLive);
    EXPECT_TRUE(fsdax_.admit(Admission::kRequest));
    EXPECT_TRUE(fsdax_.handles().add({.ino = 1}));
    EXPECT_TRUE(pool_.registry().get_dev_pagemap(first_pfn(fsdax_)));
  };
  ASSERT_TRUE(fsdax_.kill(false));
  EXPECT_TRUE(fsdax_.enable());
  expect_live();
  ASSERT_TRUE(fsdax_.kill(false));
  fsdax_.stop_writeback();
  EXPECT_TRUE(fsdax_.enable());
  expect_live();
}

TEST_F(DeviceEnableTest, BytesAndFilesAreThereAgain) {
  ASSERT_TRUE(devdax_.enable());
  ASSERT_TRUE(fsdax_.enable());
  const std::array data = {std::byte{1}, std::byte{2}, std::byte{3}};
  must(must(devdax_.admit(Admission::kRequest))
           .media()
           .write(1 * kMiB, data, Media::Writer::kProgram));
  const auto attr = must(must(fsdax_.admit(Admission::kRequest))
                             .fs()
                             .mknod(fsdax_.root_ino(), "a", S_IFREG | 0644, 0, {}));
  must(must(fsdax_.admit(Admission::kRequest)).fs().write(attr.ino, 5, data));
  take_down(devdax_);
  take_down(fsdax_);
  ASSERT_TRUE(devdax_.enable());
  ASSERT_TRUE(fsdax_.enable());

  std::array<std::byte, 3> read{};
  must(must(devdax_.admit(Admission::kRequest)).media().read(1 * kMiB, read));
  EXPECT_EQ(read, data);
  const auto request = must(fsdax_.admit(Admission::kRequest));
  EXPECT_EQ(must(request.fs().lookup(fsdax_.root_ino(), "a")).ino, attr.ino);
  EXPECT_EQ(must(request.fs().getattr(attr.ino)).size, 8u);
}

TEST_F(DeviceEnableTest, MarksItUncleanUntilTheRelease) {
  for (Device* device : {&fsdax_, &devdax_}) {
    EXPECT_TRUE(is_clean(*device));
    ASSERT_TRUE(device->enable());
    EXPECT_FALSE(is_clean(*device));
    ASSERT_TRUE(device->kill(false));
    device->resurrect();
    ASSERT_TRUE(device->kill(false));
    EXPECT_FALSE(is_clean(*device));
    device->stop_writeback();
    EXPECT_FALSE(is_clean(*device));
    ASSERT_TRUE(device->release(Clock::now()));
    EXPECT_TRUE(is_clean(*device));
  }
}

TEST_F(DeviceEnableTest, LostWritebacksAreCountedSinceTheLastEnable) {
  ASSERT_TRUE(fsdax_.enable());
  fsdax_.health().count_lost_writeback();
  fsdax_.health().count_lost_writeback();
  take_down(fsdax_);
  EXPECT_EQ(fsdax_.health().lost_writebacks(), 2u);
  ASSERT_TRUE(fsdax_.enable());
  EXPECT_EQ(fsdax_.health().lost_writebacks(), 0u);
}

// Free space of a namespace that wasn't released cleanly may hold bytes of whatever was under way.
TEST_F(DeviceEnableTest, DiscardsFreeSpaceOfAnUncleanOne) {
  ASSERT_TRUE(fsdax_.enable());
  const std::array data = {std::byte{7}};
  const uint64_t offset = 4 * kMiB;
  must(
      must(fsdax_.admit(Admission::kRequest)).media().write(offset, data, Media::Writer::kProgram));
  take_down(fsdax_);
  const auto read_byte = [&] {
    std::array<std::byte, 1> byte{};
    must(must(fsdax_.admit(Admission::kRequest)).media().read(offset, byte));
    return byte[0];
  };
  ASSERT_TRUE(fsdax_.enable());
  EXPECT_EQ(read_byte(), std::byte{7}) << "clean: not looked at";
  take_down(fsdax_);
  must(pool_.pool().set_clean(fsdax_.record().serial, false));
  ASSERT_TRUE(fsdax_.enable());
  EXPECT_EQ(read_byte(), std::byte{0});
}

TEST_F(DeviceEnableTest, UnlinkedFileLivesOnWhileTheKernelKnowsIt) {
  ASSERT_TRUE(fsdax_.enable());
  const auto attr =
      must(must(fsdax_.admit(Admission::kRequest)).fs().tmpfile(fsdax_.root_ino(), 0600, {}));
  fsdax_.lookups().count(attr.ino);
  take_down(fsdax_);
  ASSERT_TRUE(fsdax_.enable());
  EXPECT_TRUE(must(fsdax_.admit(Admission::kRequest)).fs().getattr(attr.ino));
  fsdax_.lookups().forget(attr.ino, 1);
  EXPECT_EQ(must(fsdax_.admit(Admission::kRequest)).fs().getattr(attr.ino).err(), ESTALE);
}

TEST_F(DeviceEnableTest, UnlinkedFileThatWasForgottenMeanwhileGoesWithTheNextEnable) {
  ASSERT_TRUE(fsdax_.enable());
  const auto attr =
      must(must(fsdax_.admit(Admission::kRequest)).fs().tmpfile(fsdax_.root_ino(), 0600, {}));
  fsdax_.lookups().count(attr.ino);
  const std::array secret = {std::byte{1}};
  must(must(fsdax_.admit(Admission::kRequest)).fs().write(attr.ino, 0, secret));
  const uint64_t at =
      must(must(fsdax_.admit(Admission::kRequest)).fs().extents(attr.ino)).front().second.begin;
  take_down(fsdax_);
  fsdax_.lookups().forget(attr.ino, 1);
  ASSERT_TRUE(is_clean(fsdax_));
  ASSERT_TRUE(fsdax_.enable());
  EXPECT_EQ(must(fsdax_.admit(Admission::kRequest)).fs().getattr(attr.ino).err(), ESTALE);
  std::array byte = {std::byte{9}};
  must(must(fsdax_.admit(Admission::kRequest)).media().read(at, byte));
  EXPECT_EQ(byte[0], std::byte{0}) << "the next file there must not show it in its holes";
}

// --- each step fails

TEST_F(DeviceEnableTest, InfoBlockThatDoesNotHoldTogetherIsEio) {
  for (Device* device : {&fsdax_, &devdax_}) {
    pool_.swap_info_block(*device);
    EXPECT_EQ(device->enable().err(), EIO);
    expect_untouched(*device);
    EXPECT_TRUE(is_clean(*device)) << "not even marked";
    pool_.swap_info_block(*device);
    EXPECT_TRUE(device->enable());
  }
}

TEST_F(DeviceEnableTest, FailureToReadTheCleanMarkLeavesNothingBehind) {
  pool_.sql("ALTER TABLE namespaces RENAME COLUMN clean TO gone");
  EXPECT_FALSE(fsdax_.enable());
  expect_untouched(fsdax_);
  pool_.sql("ALTER TABLE namespaces RENAME COLUMN gone TO clean");
  EXPECT_TRUE(fsdax_.enable());
}

TEST_F(DeviceEnableTest, FailureToWriteTheCleanMarkLeavesNothingBehind) {
  pool_.sql(
      "CREATE TRIGGER broken BEFORE UPDATE OF clean ON namespaces"
      " BEGIN SELECT RAISE(FAIL, 'no'); END");
  EXPECT_FALSE(fsdax_.enable());
  EXPECT_FALSE(devdax_.enable());
  expect_untouched(fsdax_);
  expect_untouched(devdax_);
  pool_.sql("DROP TRIGGER broken");
  EXPECT_TRUE(is_clean(fsdax_));
  EXPECT_TRUE(fsdax_.enable());
  EXPECT_TRUE(devdax_.enable());
}

TEST_F(DeviceEnableTest, FileSystemThatDoesNotHoldTogetherIsEio) {
  const auto extent = [&](uint64_t index) {
    return "INSERT INTO extents (ino, file_offset, data_offset, length) VALUES (" +
           std::to_string(make_inode_number(fsdax_.record().serial, index)) + ", 0, 4096, 8192);";
  };
  pool_.sql("UPDATE namespaces SET next_index = 1000");
  pool_.sql(extent(100) + extent(101));  // two files, the same bytes
  const auto result = fsdax_.enable();
  EXPECT_EQ(result.err(), EIO);
  EXPECT_TRUE(result.error().message.starts_with("namespace0.0: extent at 0x1000"))
      << result.error().message;
  EXPECT_NE(result.error().hint.find("pmemd --check"), std::string::npos);
  expect_untouched(fsdax_);
  pool_.sql("DELETE FROM extents");
  EXPECT_TRUE(fsdax_.enable());
}

// What its last clean disable had is known: no file gets another's bytes, or zeros for its own, and
// nothing is changed that a backup of pool.db could bring back.
TEST_F(DeviceEnableTest, ExtentsThatWereLostOrChangedSinceTheLastDisableAreEio) {
  ASSERT_TRUE(fsdax_.enable());
  const auto attr = must(must(fsdax_.admit(Admission::kRequest))
                             .fs()
                             .mknod(fsdax_.root_ino(), "a", S_IFREG | 0644, 0, {}));
  const std::array data = {std::byte{1}};
  for (const uint64_t offset : {uint64_t{0}, 2 * kMiB}) {
    must(must(fsdax_.admit(Admission::kRequest)).fs().write(attr.ino, offset, data));
  }
  take_down(fsdax_);
  const std::string of_file = " WHERE ino = " + std::to_string(attr.ino) + " AND file_offset = 0";
  const std::string restore =
      "DELETE FROM extents" + of_file + ";INSERT INTO extents SELECT * FROM kept; DROP TABLE kept";
  for (const std::string damage :
       {"DELETE FROM extents", "UPDATE extents SET data_offset = data_offset + (1 << 20)",
        "UPDATE extents SET length = 8192", "UPDATE OR REPLACE extents SET ino = ino + 1"}) {
    SCOPED_TRACE(damage);
    pool_.sql("CREATE TABLE kept AS SELECT * FROM extents" + of_file);
    pool_.sql(damage + of_file);
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(fsdax_.enable().err(), EIO);
      expect_untouched(fsdax_);
      EXPECT_TRUE(is_clean(fsdax_)) << "else the next enable would take what is free for free";
    }
    pool_.sql("DELETE FROM extents WHERE ino = " + std::to_string(attr.ino + 1));
    pool_.sql(restore);
  }
  EXPECT_TRUE(fsdax_.enable());
}

// After a kill there is none to compare with: what is free is zeroed then.
TEST_F(DeviceEnableTest, LostExtentsOfAnUncleanOneAreZeroed) {
  ASSERT_TRUE(fsdax_.enable());
  const auto attr = must(must(fsdax_.admit(Admission::kRequest))
                             .fs()
                             .mknod(fsdax_.root_ino(), "a", S_IFREG | 0644, 0, {}));
  const std::array data = {std::byte{1}};
  must(must(fsdax_.admit(Admission::kRequest)).fs().write(attr.ino, 0, data));
  const uint64_t at =
      must(must(fsdax_.admit(Admission::kRequest)).fs().extents(attr.ino)).front().second.begin;
  take_down(fsdax_);
  must(pool_.pool().set_clean(fsdax_.record().serial, false));
  pool_.sql("DELETE FROM extents WHERE ino = " + std::to_string(attr.ino));
  ASSERT_TRUE(fsdax_.enable());
  std::array byte = {std::byte{9}};
  must(must(fsdax_.admit(Admission::kRequest)).media().read(at, byte));
  EXPECT_EQ(byte[0], std::byte{0});
}

TEST_F(DeviceEnableTest, RangeOfAnotherPagemapIsEnomem) {
  for (Device* device : {&fsdax_, &devdax_}) {
    const uint64_t address = first_pfn(*device).value * kPageSize;
    DevPagemap squatter("squatter", MemoryType::kGeneric,
                        PhysRange::sized(address + kSubsectionSize, kSubsectionSize));
    ASSERT_TRUE(pool_.registry().memremap_pages(squatter));
    EXPECT_EQ(device->enable().err(), ENOMEM);
    expect_untouched(*device);
    ASSERT_TRUE(pool_.registry().memunmap_pages(squatter, Clock::now()));
    EXPECT_TRUE(device->enable()) << "a failed enable must not poison the range";
  }
}

// --- what can't be made durable at the end

TEST_F(DeviceEnableTest, ReleaseThatCannotMarkItCleanTellsAndStillReleases) {
  ASSERT_TRUE(devdax_.enable());
  ASSERT_TRUE(devdax_.kill(false));
  devdax_.stop_writeback();
  pool_.sql(
      "CREATE TRIGGER broken BEFORE UPDATE OF clean ON namespaces"
      " BEGIN SELECT RAISE(FAIL, 'no'); END");
  const auto result = devdax_.release(Clock::now());
  EXPECT_FALSE(result);
  EXPECT_NE(result.err(), ETIMEDOUT);
  EXPECT_NE(result.error().message.find(devdax_.record().name()), std::string::npos);
  expect_untouched(devdax_);
  pool_.sql("DROP TRIGGER broken");
  EXPECT_FALSE(is_clean(devdax_));
  EXPECT_TRUE(devdax_.enable());
}

// The page tables of a large one take their time to go; nobody waits for it but the next enable.
TEST_F(DeviceEnableTest, TheImageIsUnmappedBehindTheReleaseAndNeverMappedTwice) {
  const auto mappings = [this] {
    std::ifstream maps("/proc/self/maps");
    int count = 0;
    for (std::string line; std::getline(maps, line);) {
      if (line.find(pool_.path()) != std::string::npos && line.ends_with(".img")) ++count;
    }
    return count;
  };
  ASSERT_EQ(mappings(), 0);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(devdax_.enable());
    EXPECT_EQ(mappings(), 1);
    ASSERT_TRUE(devdax_.kill(false));
    devdax_.stop_writeback();
    ASSERT_TRUE(devdax_.release(Deadline::max()));
  }
}

TEST_F(DeviceEnableTest, ReleaseThatCannotWriteTimesTellsAndLeavesItUnclean) {
  ASSERT_TRUE(fsdax_.enable());
  const auto attr = must(must(fsdax_.admit(Admission::kRequest))
                             .fs()
                             .mknod(fsdax_.root_ino(), "a", S_IFREG | 0644, 0, {}));
  const std::array data = {std::byte{1}};
  must(must(fsdax_.admit(Admission::kRequest)).fs().write(attr.ino, 0, data));
  SetAttr long_ago;
  long_ago.mtime = timespec{1, 0};
  must(must(fsdax_.admit(Admission::kRequest)).fs().setattr(attr.ino, long_ago));
  must(must(fsdax_.admit(Admission::kRequest))
           .fs()
           .write(attr.ino, 0, data));  // an overwrite: times only
  ASSERT_TRUE(fsdax_.kill(false));
  fsdax_.stop_writeback();
  pool_.sql("CREATE TRIGGER broken BEFORE UPDATE ON inodes BEGIN SELECT RAISE(FAIL, 'no'); END");
  EXPECT_FALSE(fsdax_.release(Clock::now()));
  expect_untouched(fsdax_);
  EXPECT_FALSE(is_clean(fsdax_));
  pool_.sql("DROP TRIGGER broken");
  EXPECT_TRUE(fsdax_.enable());
}

}  // namespace
}  // namespace pmemd
