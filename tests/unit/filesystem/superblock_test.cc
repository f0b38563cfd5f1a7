#include "core/filesystem/superblock.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>

#include "core/base/units.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

constexpr uint64_t kSize = 4 * kMiB;
constexpr uint64_t kSerial = 7;

// A file system with a superblock. (That of MountedFs has none, as those of pool version 2.)
class SuperblockTest : public testing::Test {
 protected:
  SuperblockTest() {
    MutexLock lock(fs_.db().mutex());
    must(fs_.db().execute("DELETE FROM inodes"));
  }
  void SetUp() override { must(FileSystem::format(fs_.db(), kSerial, kSize, {})); }

  int mount(bool clean = true, bool tolerant = false) {
    fs_options_.serial = kSerial;
    fs_options_.clean = clean;
    fs_options_.tolerant = tolerant;
    return FileSystem::mount(fs_.db(), fs_.media(), fs_.srcu(), fs_.lookups(), fs_options_).err();
  }
  std::string stored(DataRange range) {
    std::string bytes(range.length(), '\0');
    must(fs_.image().read(MountedFs::kDataOffset + range.begin,
                          std::as_writable_bytes(std::span(bytes))));
    return bytes;
  }
  void store(uint64_t offset, std::string_view bytes) {
    must(fs_.image().write(MountedFs::kDataOffset + offset, std::as_bytes(std::span(bytes))));
  }
  void poison(DataRange range) {
    const RegionRange in_region = fs_.in_region(range);
    must(fs_.errors().inject({in_region}, {in_region}));
  }

  const DataRange block_ = superblock_range(kSize);
  MountedFs fs_{kSize};
  FileSystem::Options fs_options_;
};

// docs/pool-format.md shows the same bytes.
TEST_F(SuperblockTest, LiesInBytesAsDocumented) {
  ASSERT_EQ(mount(), 0);
  std::string wanted(kPageSize, '\0');
  std::memcpy(wanted.data(), "PMEMD_FSDAX", 11);
  wanted[0x10] = 1;
  wanted[0x18] = 7;
  wanted[0x22] = 0x40;
  EXPECT_EQ(block_, (DataRange{kSize - 4096, kSize}));
  EXPECT_EQ(stored(block_), wanted);
  EXPECT_EQ(mount(), 0) << "it is found again";
}

TEST_F(SuperblockTest, IsTheRootsMetadataAndNobodysSpace) {
  EXPECT_EQ(fs_.try_mount(true).err(), 0);
  FailedParts parts;
  must(fs_->owners({{0, kSize}}, parts));
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].ino, fs_.root());
  EXPECT_EQ(parts[0].data, block_);
  EXPECT_TRUE(parts[0].is_metadata);
  EXPECT_EQ(fs_.free_bytes(), kSize - kPageSize);
  const uint64_t ino = fs_.make("a");
  EXPECT_EQ(fs_.write(ino, 0, std::string(kSize, 'a')).err(), ENOSPC);
  must(fs_.write(ino, 0, std::string(kSize - kPageSize, 'a')));
  EXPECT_EQ(mount(), 0);
}

TEST_F(SuperblockTest, AnothersIsEUCLEANAndNothingOfItIsChanged) {
  ASSERT_EQ(mount(), 0);
  store(64 * kKiB, "another's bytes");
  for (const auto& [offset, byte] : {std::pair{0x00, 'Q'},
                                     {0x10, '\2'},
                                     {0x18, '\10'},
                                     {0x22, '\x20'},
                                     {0x28, 'x'},
                                     {0xfff, 'x'}}) {
    SCOPED_TRACE(offset);
    const std::string before = stored(block_);
    store(block_.begin + static_cast<uint64_t>(offset), {&byte, 1});
    EXPECT_EQ(mount(), EUCLEAN);
    EXPECT_EQ(mount(true, true), EUCLEAN) << "tolerance is for what can't be read";
    // Unclean: but whose free space is it?
    EXPECT_EQ(mount(false), EUCLEAN);
    EXPECT_EQ(stored({64 * kKiB, 64 * kKiB + 15}), "another's bytes");
    store(block_.begin, before);
  }
  EXPECT_EQ(mount(false), 0);
  EXPECT_EQ(stored({64 * kKiB, 64 * kKiB + 15}), std::string(15, '\0'));
}

TEST_F(SuperblockTest, PoisonedIsEUCLEANUnlessTolerated) {
  ASSERT_EQ(mount(), 0);
  poison({block_.begin + 512, block_.begin + 1024});
  EXPECT_EQ(mount(), EUCLEAN);
  EXPECT_EQ(mount(true, true), 0);
  EXPECT_EQ(mount(false, true), 0);
  EXPECT_FALSE(fs_.media().bad(block_).empty()) << "it stays as it is";
}

// A namespace that failed whole, and was destroyed: what is created there begins well.
TEST_F(SuperblockTest, ANewFileSystemMakesTheBlockGood) {
  poison(block_);
  EXPECT_EQ(mount(), EUCLEAN);
  must(prepare_superblock(fs_.media()));
  EXPECT_TRUE(fs_.media().bad(block_).empty());
  EXPECT_EQ(mount(), 0);
  fs_.media().set_clearable(false);
  poison(block_);
  EXPECT_EQ(prepare_superblock(fs_.media()).err(), EIO);
}

TEST_F(SuperblockTest, ClearedIsWrittenAnew) {
  ASSERT_EQ(mount(), 0);
  const std::string before = stored(block_);
  poison(block_);
  EXPECT_EQ(mount(), EUCLEAN);
  must(fs_.media().clear({block_}));
  EXPECT_EQ(stored(block_), std::string(kPageSize, '\0'));
  EXPECT_EQ(mount(), 0);
  EXPECT_EQ(stored(block_), before);
}

// Part of it cleared: zeros in the middle, which no other file system's has either.
TEST_F(SuperblockTest, PoisonBehindItsFieldsIsGoneOnceItIsCleared) {
  ASSERT_EQ(mount(), 0);
  poison({block_.begin + 1024, block_.begin + 1536});
  must(fs_.media().clear({block_}));
  EXPECT_EQ(mount(), 0);
}

TEST_F(SuperblockTest, FieldsThatWereClearedAloneAreZerosAndWrittenAnew) {
  ASSERT_EQ(mount(), 0);
  poison({block_.begin, block_.begin + 512});
  must(fs_.media().clear({block_}));
  EXPECT_EQ(mount(), 0);
}

TEST_F(SuperblockTest, AnUpgradedPoolHasNone) {
  {
    MutexLock lock(fs_.db().mutex());
    must(fs_.db().execute("DELETE FROM extents"));
  }
  store(block_.begin, "a file's bytes");
  poison(block_);
  EXPECT_EQ(mount(), 0);
  EXPECT_EQ(fs_.try_mount(true).err(), 0);
  EXPECT_EQ(fs_.free_bytes(), kSize);
}

TEST_F(SuperblockTest, FormatAgainChangesNothing) {
  must(FileSystem::format(fs_.db(), kSerial, 2 * kSize, {}));
  EXPECT_EQ(fs_.try_mount(true).err(), 0);
  FailedParts parts;
  must(fs_->owners({{0, kSize}}, parts));
  EXPECT_EQ(parts.size(), 1u);
}

}  // namespace
}  // namespace pmemd
