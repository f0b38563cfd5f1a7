// Files on bad blocks: what fails, what clears, and that a call that fails changes nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <random>
#include <string>
#include <vector>

#include "core/base/units.h"
#include "core/filesystem/check.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kSize = 4 * kMiB;
constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

class BadBlocks : public testing::Test {
 protected:
  BadBlocks() {
    ino_ = fs_.make("a");
    must(fs_.write(ino_, 0, std::string(8 * kPageSize, 'a')));
    data_ = must(fs_->extents(ino_)).at(0).second;
  }

  // In coordinates of the file.
  DataRange in_data(FileRange range) const {
    return {data_.begin + range.begin, data_.begin + range.end};
  }
  void poison(DataRange range, bool is_known = true) {
    const RegionRange in_region = fs_.in_region(range);
    must(fs_.errors().inject({in_region}, {is_known ? in_region : RegionRange{}}));
  }
  void poison(FileRange range) { poison(in_data(range)); }
  std::vector<DataRange> bad() { return fs_.media().bad({0, kSize}); }
  int read_error(FileRange range) { return fs_->read(ino_, range).err(); }
  std::string stored(DataRange range) {
    std::string bytes(range.length(), '\0');
    must(fs_.image().read(MountedFs::kDataOffset + range.begin,
                          std::as_writable_bytes(std::span(bytes))));
    return bytes;
  }

  MountedFs fs_{kSize};
  uint64_t ino_ = 0;
  DataRange data_;
};

TEST_F(BadBlocks, ReadsOfBadBytesAreEIOAndBesideThemAreNot) {
  poison(FileRange{4096, 4608});
  EXPECT_EQ(read_error({0, 4096}), 0);
  EXPECT_EQ(read_error({4000, 5000}), EIO);
  EXPECT_EQ(read_error({4608, 32768}), 0);
  EXPECT_EQ(read_error({4607, 4608}), EIO);
}

TEST_F(BadBlocks, AWriteClearsWholeUnitsAndPartOfOneIsEIOAndStoresNothing) {
  poison(FileRange{4096, 4608});
  EXPECT_EQ(fs_.write(ino_, 4096, std::string(511, 'n')).err(), EIO);
  EXPECT_EQ(fs_.write(ino_, 4097, std::string(4096, 'n')).err(), EIO);
  EXPECT_EQ(stored(in_data({4096, 8192})), std::string(4096, 'a'));
  must(fs_.write(ino_, 4096, std::string(512, 'n')));
  EXPECT_THAT(bad(), IsEmpty());
  EXPECT_EQ(fs_.read(ino_, 4000, 704),
            std::string(96, 'a') + std::string(512, 'n') + std::string(96, 'a'));
}

TEST_F(BadBlocks, AWriteThatFailsLeavesNoLargerFile) {
  poison(FileRange{7 * kPageSize, 7 * kPageSize + 512});
  const Attr before = fs_.attr(ino_);
  EXPECT_EQ(fs_.write(ino_, 7 * kPageSize + 100, std::string(2 * kPageSize, 'n')).err(), EIO);
  EXPECT_EQ(fs_.attr(ino_).size, before.size);
  EXPECT_EQ(fs_.attr(ino_).blocks, before.blocks);
  must(fs_.write(ino_, 7 * kPageSize, std::string(2 * kPageSize, 'n')));
  EXPECT_EQ(fs_.read(ino_, 7 * kPageSize, 2 * kPageSize), std::string(2 * kPageSize, 'n'));
}

TEST_F(BadBlocks, WhatAMappingStoredNeverClears) {
  poison(FileRange{4096, 4608});
  const std::string page(kPageSize, 'm');
  must(fs_->write(ino_, 4096, std::as_bytes(std::span(page)), Media::Writer::kWriteback));
  EXPECT_THAT(bad(), ElementsAre(in_data({4096, 4608})));
  EXPECT_EQ(fs_.read(ino_, 4608, 3584), std::string(3584, 'm'));
  EXPECT_EQ(stored(in_data({4096, 4608})), std::string(512, 'a'));
}

TEST_F(BadBlocks, PunchAndZeroClear) {
  poison(FileRange{4096, 4608});
  must(fs_->fallocate(ino_, kPunch, 4096, 4096));
  EXPECT_EQ(fs_.read(ino_, 4096, 4096), std::string(4096, '\0'));
  poison(FileRange{8192, 8704});
  must(fs_->fallocate(ino_, FALLOC_FL_ZERO_RANGE, 8192, 512));
  EXPECT_EQ(fs_.read(ino_, 8192, 1024), std::string(512, '\0') + std::string(512, 'a'));
  EXPECT_THAT(bad(), IsEmpty());
}

TEST_F(BadBlocks, APunchOfPartOfAUnitIsEIOAndPunchesNothing) {
  poison(FileRange{4096, 4608});
  poison(FileRange{6 * kPageSize, 6 * kPageSize + 512});
  const uint64_t blocks = fs_.attr(ino_).blocks;
  EXPECT_EQ(fs_->fallocate(ino_, kPunch, 4200, 3 * kPageSize).err(), EIO);
  EXPECT_EQ(fs_->fallocate(ino_, kPunch, 2 * kPageSize, 4 * kPageSize + 100).err(), EIO);
  EXPECT_EQ(fs_.attr(ino_).blocks, blocks);
  EXPECT_EQ(fs_.read(ino_, 2 * kPageSize, 4 * kPageSize), std::string(4 * kPageSize, 'a'));
  must(fs_->fallocate(ino_, kPunch, 4096, 5 * kPageSize + 512));
  EXPECT_THAT(bad(), IsEmpty());
}

TEST_F(BadBlocks, AZeroRangeOfPartOfAUnitIsEIOAndTheSizeStays) {
  poison(FileRange{7 * kPageSize, 7 * kPageSize + 512});
  EXPECT_EQ(fs_->fallocate(ino_, FALLOC_FL_ZERO_RANGE, 7 * kPageSize + 100, 4 * kPageSize).err(),
            EIO);
  EXPECT_EQ(fs_.attr(ino_).size, 8 * kPageSize);
  EXPECT_EQ(fs_.attr(ino_).blocks, 8 * kPageSize / 512);
}

// The rest of the last block has to be zeroed; dax_truncate_page() fails so, too.
TEST_F(BadBlocks, TruncateWithinABadUnitIsEIOAndTheSizeStays) {
  poison(FileRange{4096, 4608});
  EXPECT_EQ(fs_.truncate(ino_, 4200).err(), EIO);
  EXPECT_EQ(fs_.attr(ino_).size, 8 * kPageSize);
  EXPECT_EQ(fs_.read(ino_, 8192, kPageSize), std::string(kPageSize, 'a'));
  EXPECT_EQ(fs_.truncate(ino_, 4608).err(), 0) << "the bad sector stays in the file";
  EXPECT_EQ(read_error({4096, 4608}), EIO);
  EXPECT_EQ(fs_.truncate(ino_, 4096).err(), 0);
  EXPECT_EQ(fs_.truncate(ino_, 8192).err(), 0);
  EXPECT_EQ(fs_.read(ino_, 4096, 4096), std::string(4096, '\0'));
  EXPECT_THAT(bad(), IsEmpty());
}

TEST_F(BadBlocks, GrowingShowsZerosOrFails) {
  must(fs_.truncate(ino_, 4200));
  poison(in_data({4096, 4608}));
  EXPECT_EQ(fs_.truncate(ino_, 8192).err(), EIO) << "half of the unit is data";
  EXPECT_EQ(fs_.write(ino_, 3 * kPageSize, "x").err(), EIO);
  EXPECT_EQ(fs_.attr(ino_).size, 4200u);
}

TEST_F(BadBlocks, UnlinkClearsTheBlocksOfTheFile) {
  poison(FileRange{4096, 4608});
  const uint64_t free = fs_.free_bytes();
  must(fs_->unlink(fs_.root(), "a"));
  EXPECT_EQ(fs_.free_bytes(), free + 8 * kPageSize);
  EXPECT_THAT(bad(), IsEmpty());
  EXPECT_EQ(stored(data_), std::string(data_.length(), '\0'));
}

// Space is refused page by page, not extent by extent; and the next mount tries again.
TEST_F(BadBlocks, WhatCannotBeClearedFallsOutUntilTheNextMount) {
  fs_.media().set_clearable(false);
  poison(FileRange{4096, 4608});
  const uint64_t free = fs_.free_bytes();
  must(fs_->unlink(fs_.root(), "a"));
  EXPECT_EQ(fs_.free_bytes(), free + 7 * kPageSize);
  fs_.remount();
  EXPECT_EQ(fs_.free_bytes(), kSize);
  EXPECT_THAT(bad(), ElementsAre(in_data({4096, 4608})));
  EXPECT_EQ(stored(in_data({4096, 8192})), std::string(4096, '\0'))
      << "whoever gets it, with its error taken away, sees no byte of before";
}

TEST_F(BadBlocks, BadFreeSpaceIsClearedWhenItIsAllocated) {
  poison(DataRange{data_.end, kSize}, false);
  const uint64_t other = fs_.make("b");
  must(fs_->fallocate(other, 0, 0, 4 * kPageSize));
  EXPECT_EQ(fs_.read(other, 0, 4 * kPageSize), std::string(4 * kPageSize, '\0'));
  EXPECT_FALSE(bad().empty()) << "the rest is still bad";
}

TEST_F(BadBlocks, BadFreeSpaceThatCannotBeClearedIsEIOAndTheFileIsAsBefore) {
  poison(DataRange{data_.end, kSize});
  fs_.media().set_clearable(false);
  const Attr before = fs_.attr(ino_);
  EXPECT_EQ(fs_.write(ino_, 8 * kPageSize, "x").err(), EIO);
  EXPECT_EQ(fs_.attr(ino_).size, before.size);
  EXPECT_EQ(fs_.attr(ino_).blocks, before.blocks);
}

TEST_F(BadBlocks, AnUncleanMountKeepsBadFreeSpaceBadAndDropsItsBytes) {
  const DataRange free = {data_.end + kPageSize, data_.end + 2 * kPageSize};
  const std::string old(kPageSize, 'x');
  must(fs_.image().write(MountedFs::kDataOffset + free.begin, std::as_bytes(std::span(old))));
  poison(DataRange{free.begin, free.begin + 512});
  fs_.crash();
  EXPECT_THAT(bad(), ElementsAre(DataRange{free.begin, free.begin + 512}));
  EXPECT_EQ(stored(free), std::string(kPageSize, '\0'));
}

// A bad page in free space may hold anything; that isn't what a check is for.
TEST(BadBlocksInAPool, ACheckDoesNotLookAtBadFreeSpace) {
  const TemporaryDirectory directory;
  const auto pool = must(Pool::create(directory.path() + "/pool", 16 * kMiB, Reservation::kSparse));
  const NamespaceRecord record = pool->namespaces().front();
  MountedFs fs(*pool);
  const std::string old(kPageSize, 'x');
  must(fs.image().write(MountedFs::kDataOffset + kMiB, std::as_bytes(std::span(old))));
  EXPECT_EQ(must(check_filesystem(*must(PoolView::open(*pool)), record)).size(), 1u);
  const RegionRange in_region = fs.in_region({kMiB, kMiB + kPageSize});
  must(fs.errors().inject({in_region}, {in_region}));
  EXPECT_THAT(must(check_filesystem(*must(PoolView::open(*pool)), record)), IsEmpty());
}

}  // namespace
}  // namespace pmemd
