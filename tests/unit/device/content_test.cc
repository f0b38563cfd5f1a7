// What each kind of content admits in which state, and how one file of memory answers.
#include "core/device/content.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/units.h"
#include "core/device/p2p_pool.h"
#include "tests/unit/device/device_pool.h"

namespace pmemd {
namespace {

using ::testing::IsEmpty;
using State = Device::State;

constexpr uint64_t kHandle = 7;

class ContentTest : public testing::Test {
 protected:
  ~ContentTest() override {
    p2p_->content().given().begin_return_of_all();
    for (const P2pBuffer& buffer : p2p_->content().given().returning()) {
      must(p2p_->content().given().finish_return(buffer.id));
    }
    for (Device* device : all()) take_down(*device);
  }

  std::unique_ptr<Device> make(NamespaceMode mode) {
    const auto region = must(pool_.pool().create_region(DevicePool::kSize, Reservation::kSparse));
    return pool_.make_device(must(pool_.pool().create_namespace(
        {.region = region.id, .mode = mode, .size_bytes = std::nullopt})));
  }
  std::vector<Device*> all() { return {&fsdax_, &devdax_, private_.get(), p2p_.get()}; }

  // One letter an Admission that is granted: Request, Read (r), Write, writeBack, Getattr, Node,
  // Media.
  static std::string admitted(Device& device, FileRange range = {0, kPageSize}) {
    constexpr std::array kAll = {
        std::pair('R', Admission::kRequest), std::pair('r', Admission::kRead),
        std::pair('W', Admission::kWrite),   std::pair('B', Admission::kWriteback),
        std::pair('G', Admission::kGetattr), std::pair('N', Admission::kNode),
        std::pair('M', Admission::kMedia)};
    std::string letters;
    for (const auto& [letter, admission] : kAll) {
      const auto request = device.admit(
          admission, {.what = "TEST", .pid = 0, .ino = device.root_ino(), .range = range});
      letters += request ? letter : '-';
      EXPECT_TRUE(request || request.err() == device.content().gone_errno());
    }
    return letters;
  }
  // disabled, live, dying, dead.
  static std::vector<std::string> through_a_life(Device& device) {
    std::vector<std::string> states = {admitted(device)};
    must(device.enable());
    states.push_back(admitted(device));
    must(device.kill(false));
    states.push_back(admitted(device));
    device.stop_writeback();
    states.push_back(admitted(device));
    must(device.release(Clock::now()));
    return states;
  }

  static std::string read(Device& device, FileRange range) {
    const auto request = must(device.admit(Admission::kRead));
    const auto bytes = must(device.content().read(request, device.root_ino(), range,
                                                  Media::Reader::kProgram, Atime::kTouch));
    std::string text;
    for (const iovec& part : bytes.parts) {
      text.append(static_cast<const char*>(part.iov_base), part.iov_len);
    }
    return text;
  }
  static Result<size_t> write(Device& device, uint64_t offset, const std::string& text,
                              Media::Writer writer = Media::Writer::kProgram) {
    const auto request = must(device.admit(Admission::kWrite));
    return device.content().write(request, device.root_ino(), offset,
                                  std::as_bytes(std::span(text)), writer);
  }

  DevicePool pool_;
  Device& fsdax_ = pool_.fsdax();
  Device& devdax_ = pool_.devdax();
  std::unique_ptr<Device> private_ = make(NamespaceMode::kPrivate);
  std::unique_ptr<Device> p2p_ = make(NamespaceMode::kP2p);
};

using States = std::vector<std::string>;

TEST_F(ContentTest, AFileSystemAdmitsWritebackAndAttributesWhileItIsDying) {
  EXPECT_EQ(through_a_life(fsdax_), (States{"-------", "RrWBGNM", "---BG--", "-------"}));
}

TEST_F(ContentTest, AFileThatIsTheDeviceHasItsAttributesInAnyState) {
  const States expected = {"----GN-", "RrWBGNM", "---BGN-", "----GN-"};
  EXPECT_EQ(through_a_life(devdax_), expected);
  EXPECT_EQ(through_a_life(*p2p_), expected);
}

TEST_F(ContentTest, PrivateMemoryIsThereOnceItWasEnabledWhateverBecomesOfTheDevice) {
  EXPECT_EQ(through_a_life(*private_), (States{"----GN-", "RrWBGNM", "-rWBGN-", "-rWBGN-"}));
  EXPECT_EQ(admitted(*private_), "-rWBGN-");
}

TEST_F(ContentTest, WhileItIsDyingWhatIsPinnedOrInABufferCanBeRead) {
  must(devdax_.enable());
  const uint64_t handle = must(devdax_.handles().add({.ino = devdax_.root_ino()}));
  must(devdax_.handles().pin(handle, getpid(), {0, kPageSize}));
  must(devdax_.kill(false));
  EXPECT_EQ(admitted(devdax_), "-r-BGN-");
  EXPECT_EQ(admitted(devdax_, {kPageSize, 2 * kPageSize}), "---BGN-");

  must(p2p_->enable());
  const FileRange buffer = must(p2p_->content().given().alloc(kHandle, getpid(), kPageSize));
  must(p2p_->kill(false));
  EXPECT_EQ(admitted(*p2p_, buffer), "-r-BGN-");
  EXPECT_EQ(admitted(*p2p_, {buffer.begin, buffer.end + 1}), "---BGN-");
}

TEST_F(ContentTest, OneThatIsShutDownAdmitsOnlyWhatTakesDataHome) {
  must(fsdax_.enable());
  fsdax_.health().shut_down();
  EXPECT_EQ(admitted(fsdax_), "---BG-M");
}

TEST_F(ContentTest, VolatileMemoryIsNeitherPinnedNorReadAheadNorKept) {
  for (Device* device : all()) {
    const bool is_volatile = device == private_.get() || device == p2p_.get();
    const auto err = [&](Admission access) { return device->admit(access).err(); };
    EXPECT_EQ(err(Admission::kFsync), is_volatile ? 0 : device->content().gone_errno());
    must(device->enable());
    EXPECT_EQ(err(Admission::kPin), is_volatile ? EOPNOTSUPP : 0);
    EXPECT_EQ(device->content().check_read_ahead().err(), is_volatile ? EOPNOTSUPP : 0);
    EXPECT_EQ(err(Admission::kFsync), 0);
    EXPECT_EQ(device->content().promises().fsync_keeps_data, !is_volatile);
    must(device->kill(false));
    EXPECT_EQ(err(Admission::kPin), is_volatile ? EOPNOTSUPP : device->content().gone_errno());
    EXPECT_EQ(err(Admission::kFsync), is_volatile ? 0 : device->content().gone_errno());
  }
}

// In any state, so that it is told before anything else.
TEST_F(ContentTest, ACommandOfAnotherKindOfMemoryIsENOTTY) {
  const auto taken = [](Device& device) {
    return std::pair(device.admit(Admission::kMigrate).err(),
                     device.admit(Admission::kBuffer).err());
  };
  EXPECT_EQ(taken(*private_), std::pair(ENOTTY, ENOTTY)) << "it was never enabled";
  for (Device* device : all()) {
    const auto expected =
        std::pair(device == private_.get() ? 0 : ENOTTY, device == p2p_.get() ? 0 : ENOTTY);
    must(device->enable());
    EXPECT_EQ(taken(*device), expected);
    device->health().shut_down();
    EXPECT_EQ(taken(*device), expected);
    must(device->kill(false));
    EXPECT_EQ(taken(*device), expected);
    device->stop_writeback();
    must(device->release(Clock::now()));
    EXPECT_EQ(taken(*device), expected);
  }
  GivenPages& none = devdax_.content().given();
  EXPECT_EQ(none.migrate_to_device({0, kPageSize}, [] { return Result<void>(); }).err(), ENOTTY);
  EXPECT_EQ(none.alloc(kHandle, getpid(), kPageSize).err(), ENOTTY);
  EXPECT_EQ(none.begin_return(kHandle, 0).err(), ENOTTY);
  EXPECT_TRUE(none.wait_empty(Clock::now()) && none.wait_returned(Clock::now()));
}

TEST_F(ContentTest, SystemMemoryIsNotLentAndNoMemoryOfItFailsUnderAProgram) {
  for (Device* device : all()) {
    const bool is_mapped = device != private_.get();
    must(device->enable());
    must(device->content().lend(device->root_ino(), {0, kPageSize}));
    EXPECT_EQ(device->leases().totals().ranges, is_mapped ? 1u : 0u);
    EXPECT_EQ(device->content().check_mapped().err(), is_mapped ? 0 : ENXIO);
    device->leases().give_back_all();
    take_down(*device);
    const auto lent = device->content().lend(device->root_ino(), {0, kPageSize});
    EXPECT_EQ(lent.err(), is_mapped ? device->content().gone_errno() : 0);
  }
  EXPECT_EQ(private_->content().check_mapped().error().message,
            private_->record().name() + ": private memory: no program maps it");
}

TEST_F(ContentTest, OnlyWhatIsKeptIsWorthReadingAhead) {
  for (Device* device : {&devdax_, private_.get(), p2p_.get()}) {
    must(device->enable());
    if (device == p2p_.get()) must(device->content().given().alloc(kHandle, getpid(), kPageSize));
    const auto request = must(device->admit(Admission::kRead));
    const auto bytes = must(device->content().read(request, device->root_ino(), {0, kPageSize},
                                                   Media::Reader::kProgram, Atime::kTouch));
    EXPECT_EQ(bytes.may_read_ahead, device == &devdax_);
  }
}

TEST_F(ContentTest, ReadsAndWritesOfOneFileEndWhereItEnds) {
  for (Device* device : {&devdax_, private_.get()}) {
    must(device->enable());
    const uint64_t size = device->record().data_bytes();
    EXPECT_EQ(must(write(*device, size - 3, "abcdef")), 3u);
    EXPECT_EQ(read(*device, {size - 3, size + 100}), "abc");
    EXPECT_EQ(read(*device, {size, size + 1}), "");
    EXPECT_EQ(write(*device, size, "x").err(), ENOSPC);
  }
}

TEST_F(ContentTest, OfAP2pPoolOnlyBuffersAreReadAndWritten) {
  must(p2p_->enable());
  const FileRange buffer = must(p2p_->content().given().alloc(kHandle, getpid(), kPageSize));
  EXPECT_EQ(must(write(*p2p_, buffer.begin, "abc")), 3u);
  EXPECT_EQ(read(*p2p_, {buffer.begin, buffer.begin + 3}), "abc");
  EXPECT_EQ(write(*p2p_, buffer.end - 1, "abc").err(), EIO);
  EXPECT_EQ(must(write(*p2p_, buffer.end, "abc", Media::Writer::kWriteback)), 3u)
      << "what is laundered there is nobody's";
  const auto request = must(p2p_->admit(Admission::kRead));
  const auto bytes = p2p_->content().read(request, p2p_->root_ino(), {0, buffer.end + kPageSize},
                                          Media::Reader::kProgram, Atime::kTouch);
  EXPECT_EQ(bytes.err(), EIO) << "all of it or nothing";
}

TEST_F(ContentTest, OneFileIsOneExtentThatCanOnlyBeAllocated) {
  must(devdax_.enable());
  const uint64_t size = devdax_.record().data_bytes(), ino = devdax_.root_ino();
  DeviceContent& content = devdax_.content();
  const auto request = must(devdax_.admit(Admission::kRequest));
  EXPECT_TRUE(content.fallocate(request, ino, 0, {0, size}));
  EXPECT_TRUE(content.fallocate(request, ino, FALLOC_FL_KEEP_SIZE, {0, 1}));
  EXPECT_EQ(content.fallocate(request, ino, 0, {1, size + 1}).err(), ENODEV);
  EXPECT_EQ(content.fallocate(request, ino, FALLOC_FL_PUNCH_HOLE, {0, 1}).err(), ENODEV);
  EXPECT_EQ(must(content.lseek(request, ino, 5, SEEK_DATA)), 5u);
  EXPECT_EQ(must(content.lseek(request, ino, 5, SEEK_HOLE)), size);
  EXPECT_EQ(content.lseek(request, ino, size, SEEK_DATA).err(), ENXIO);
  EXPECT_EQ(content.lseek(request, ino, 5, SEEK_SET).err(), EINVAL);
  EXPECT_EQ(must(content.extents(request, ino)), (DeviceContent::Extents{{{0, size}, {0, size}}}));
  FailedParts parts;
  must(content.owners(request, {{1, 2}, {4096, 8192}}, parts));
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[1].file, (FileRange{4096, 8192}));
}

TEST_F(ContentTest, APrivateFileHasNoBytesInTheDataArea) {
  must(private_->enable());
  const auto request = must(private_->admit(Admission::kRequest));
  EXPECT_THAT(must(private_->content().extents(request, private_->root_ino())), IsEmpty());
}

TEST_F(ContentTest, ModeAndOwnerOfOneFileLastAndItsSizeCannotBeChanged) {
  const uint64_t ino = devdax_.root_ino();
  DeviceContent& content = devdax_.content();
  {
    const auto request = must(devdax_.admit(Admission::kNode));
    SetAttr change;
    change.mode = S_IFREG | 0640;
    change.uid = 7;
    change.size = devdax_.record().data_bytes();
    const Attr attr = must(content.setattr(request, ino, change));
    EXPECT_EQ(attr.mode, mode_t{S_IFREG | 0640});
    change.size = 1;
    EXPECT_EQ(content.setattr(request, ino, change).err(), EINVAL);
  }
  must(devdax_.enable());
  const auto request = must(devdax_.admit(Admission::kGetattr));
  const Attr attr = must(content.getattr(request, ino));
  EXPECT_EQ(attr.mode, mode_t{S_IFREG | 0640});
  EXPECT_EQ(attr.uid, 7u);
  EXPECT_EQ(attr.gid, getegid());
  EXPECT_EQ(attr.size, devdax_.record().data_bytes());
  EXPECT_FALSE(attr.has_holes());
}

class FileSystemContentTest : public ContentTest {
 protected:
  FileSystemContentTest() {
    must(fsdax_.enable());
    const auto request = must(fsdax_.admit(Admission::kRequest));
    FileSystem& fs = request.fs();
    file_ = must(fs.mknod(fs.root(), "file", S_IFREG | 0600, 0, {})).ino;
    const std::string bytes(8 * kPageSize, 'a');
    must(content().write(request, file_, 0, std::as_bytes(std::span(bytes)),
                         Media::Writer::kProgram));
    EXPECT_TRUE(fsdax_.leases().lend(file_, {0, 8 * kPageSize}));
  }
  DeviceContent& content() { return fsdax_.content(); }
  Result<void> punch(FileRange range) {
    const auto request = must(fsdax_.admit(Admission::kRequest));
    return content().fallocate(request, file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, range);
  }
  Result<Attr> truncate(uint64_t size) {
    const auto request = must(fsdax_.admit(Admission::kNode));
    SetAttr change;
    change.size = size;
    return content().setattr(request, file_, change);
  }

  uint64_t file_ = 0;
};

// The kernel drops them when it has the reply.
TEST_F(FileSystemContentTest, WholePagesThatAreCutOutAreNotLentAnyMore) {
  must(punch({kPageSize + 1, 4 * kPageSize - 1}));
  EXPECT_EQ(fsdax_.leases().ranges(file_),
            (std::vector<FileRange>{{0, 2 * kPageSize}, {3 * kPageSize, 8 * kPageSize}}));
  must(truncate(5 * kPageSize + 1));
  EXPECT_EQ(fsdax_.leases().ranges(file_),
            (std::vector<FileRange>{{0, 2 * kPageSize}, {3 * kPageSize, 6 * kPageSize}}));
}

TEST_F(FileSystemContentTest, WhatIsPinnedIsNeitherPunchedNorCutOff) {
  const uint64_t handle = must(fsdax_.handles().add({.ino = file_}));
  must(fsdax_.handles().pin(handle, getpid(), {4 * kPageSize, 5 * kPageSize}));
  EXPECT_EQ(punch({0, 4 * kPageSize + 1}).err(), EBUSY);
  EXPECT_TRUE(punch({0, 4 * kPageSize}));
  EXPECT_EQ(truncate(5 * kPageSize - 1).err(), EBUSY);
  EXPECT_TRUE(truncate(5 * kPageSize));
}

TEST_F(FileSystemContentTest, HolesThatAWriterMayHaveStoredToCountAsBlocks) {
  must(punch({0, 4 * kPageSize}));
  ASSERT_TRUE(fsdax_.leases().lend(file_, {0, 2 * kPageSize}));
  const auto dirtied = [&] {
    const auto request = must(fsdax_.admit(Admission::kGetattr));
    return must(content().getattr(request, file_)).dirtied_blocks;
  };
  EXPECT_EQ(dirtied(), 0u) << "nobody has it open";
  must(fsdax_.handles().add({.ino = file_, .writable = true}));
  EXPECT_EQ(dirtied(), 2 * kPageSize / kSectorSize);
}

}  // namespace
}  // namespace pmemd
