// read, write, truncate, fallocate, lseek; where blocks lie; what happens when space is short.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "core/filesystem/filesystem.h"
#include "core/filesystem/inode.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

using testing::ElementsAre;

constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
constexpr uint64_t kBlock = kPageSize;
constexpr uint64_t kChunk = kSubsectionSize;

std::string zeros(uint64_t length) { return std::string(length, '\0'); }

class DataTest : public testing::Test {
 protected:
  DataTest() { ino_ = fs_.make("f"); }
  int write(uint64_t offset, const std::string& bytes) {
    return fs_.write(ino_, offset, bytes).err();
  }
  int fallocate(int mode, uint64_t offset, uint64_t length) {
    return fs_->fallocate(ino_, mode, offset, length).err();
  }
  std::string all() { return fs_.read(ino_, 0, fs_.attr(ino_).size); }
  uint64_t blocks() { return fs_.attr(ino_).blocks * 512 / kBlock; }
  int64_t seek(uint64_t offset, int whence, const std::vector<FileRange>& lent = {}) {
    const auto found = fs_->lseek(ino_, offset, whence, lent);
    return found ? static_cast<int64_t>(*found) : -found.err();
  }

  MountedFs fs_;
  uint64_t ino_ = 0;
};

TEST_F(DataTest, HolesReadAsZerosAndTakeNoBlocks) {
  EXPECT_EQ(write(3 * kBlock + 1, "x"), 0);
  EXPECT_EQ(blocks(), 1u);
  EXPECT_EQ(all(), zeros(3 * kBlock + 1) + "x");
  must(fs_.truncate(ino_, 1 * kGiB));
  EXPECT_EQ(blocks(), 1u);
  EXPECT_EQ(fs_.read(ino_, kGiB - 3 * kMiB, 4 * kMiB), zeros(3 * kMiB));
}

TEST_F(DataTest, ReadsEndAtTheSize) {
  EXPECT_EQ(write(0, "abcdef"), 0);
  EXPECT_EQ(fs_.read(ino_, 4, 100), "ef");
  EXPECT_EQ(fs_.read(ino_, 6, 100), "");
  EXPECT_EQ(fs_.read(ino_, 1 * kGiB, 100), "");
  EXPECT_EQ(fs_.read(ino_, 2, 0), "");
}

TEST_F(DataTest, OverwritesTakeNoMore) {
  EXPECT_EQ(write(0, std::string(3 * kBlock, 'a')), 0);
  EXPECT_EQ(write(kBlock - 1, "bbb"), 0);
  EXPECT_EQ(blocks(), 3u);
  EXPECT_EQ(fs_.read(ino_, kBlock - 2, 5), "abbba");
  EXPECT_EQ(must(fs_->extents(ino_)).size(), 1u);
}

TEST_F(DataTest, AWriteOverHolesAndBlocksFillsTheHoles) {
  EXPECT_EQ(write(kBlock, "a"), 0);
  EXPECT_EQ(write(3 * kBlock, "a"), 0);
  const std::string bytes(4 * kBlock, 'b');
  EXPECT_EQ(write(100, bytes), 0);
  EXPECT_EQ(all(), zeros(100) + bytes);
  EXPECT_EQ(blocks(), 5u);
}

TEST_F(DataTest, WritingNothingDoesNothing) {
  EXPECT_EQ(write(1 * kGiB, ""), 0);
  EXPECT_EQ(fs_.attr(ino_).size, 0u);
}

TEST_F(DataTest, OnlyRegularFilesHaveData) {
  const uint64_t fifo = fs_.make("p", 0, S_IFIFO | 0600);
  EXPECT_EQ(fs_.write(fs_.root(), 0, "x").err(), EISDIR);
  EXPECT_EQ(fs_->read(fs_.root(), {0, 1}).err(), EISDIR);
  EXPECT_EQ(fs_.write(fifo, 0, "x").err(), EINVAL);
  EXPECT_EQ(fs_->fallocate(fs_.root(), 0, 0, 1).err(), EISDIR);
  EXPECT_EQ(fs_->fallocate(fs_.root(), kPunch, 0, 1).err(), EISDIR);
  EXPECT_EQ(fs_->lseek(fifo, 0, SEEK_DATA, {}).err(), EINVAL);
}

TEST_F(DataTest, FilesEndWhereExt4sDo) {
  EXPECT_FALSE(fs_.truncate(ino_, kFileSizeMax).err());
  EXPECT_EQ(write(kFileSizeMax - 1, "x"), 0);
  EXPECT_EQ(fs_.read(ino_, kFileSizeMax - 2, 10), std::string("\0x", 2));
  EXPECT_EQ(write(kFileSizeMax - 1, "xx"), EFBIG);
  EXPECT_EQ(write(UINT64_MAX, "xx"), EFBIG);
  EXPECT_EQ(fs_.truncate(ino_, kFileSizeMax + 1).err(), EFBIG);
  EXPECT_EQ(fallocate(0, kFileSizeMax, 1), EFBIG);
  EXPECT_EQ(fallocate(0, UINT64_MAX, UINT64_MAX), EFBIG);
}

// --- truncate

TEST_F(DataTest, WhatWasCutOffReadsAsZerosWhenTheFileGrowsAgain) {
  EXPECT_EQ(write(0, std::string(3 * kBlock, 'x')), 0);
  must(fs_.truncate(ino_, 10));
  EXPECT_EQ(blocks(), 1u);
  must(fs_.truncate(ino_, 3 * kBlock));
  EXPECT_EQ(all(), std::string(10, 'x') + zeros(3 * kBlock - 10));
  must(fs_.truncate(ino_, 5));
  EXPECT_EQ(write(20, "y"), 0);
  EXPECT_EQ(all(), std::string(5, 'x') + zeros(15) + "y");
}

// A crash between a truncation's transaction and its zeroing leaves bytes behind the end.
TEST_F(DataTest, BytesBehindTheEndAreNeverShown) {
  EXPECT_EQ(write(0, "0123456789"), 0);
  const uint64_t at = MountedFs::kDataOffset + must(fs_->extents(ino_)).front().second.begin;
  const std::string junk(100, 'j');
  must(fs_.image().write(at + 10, std::as_bytes(std::span(junk))));
  must(fs_.truncate(ino_, 20));
  EXPECT_EQ(all(), "0123456789" + zeros(10));
  must(fs_.image().write(at + 20, std::as_bytes(std::span(junk))));
  EXPECT_EQ(write(30, "x"), 0);
  EXPECT_EQ(all(), "0123456789" + zeros(20) + "x");
  must(fs_.image().write(at + 31, std::as_bytes(std::span(junk))));
  EXPECT_EQ(fallocate(0, 0, 50), 0);
  EXPECT_EQ(all(), "0123456789" + zeros(20) + "x" + zeros(19));
  must(fs_.image().write(at + 50, std::as_bytes(std::span(junk))));
  EXPECT_EQ(fallocate(FALLOC_FL_ZERO_RANGE, 60, 10), 0);
  EXPECT_EQ(all(), "0123456789" + zeros(20) + "x" + zeros(39));
  EXPECT_EQ(write(2 * kBlock, "y"), 0);
  EXPECT_EQ(all(), "0123456789" + zeros(20) + "x" + zeros(2 * kBlock - 31) + "y");
}

TEST_F(DataTest, TruncatingGivesSpaceBack) {
  const uint64_t free_bytes = fs_.free_bytes();
  EXPECT_EQ(write(0, std::string(5 * kMiB, 'x')), 0);
  EXPECT_EQ(fs_.free_bytes(), free_bytes - 5 * kMiB);
  must(fs_.truncate(ino_, kMiB + 1));
  EXPECT_EQ(fs_.free_bytes(), free_bytes - kMiB - kBlock);
  must(fs_.truncate(ino_, 0));
  EXPECT_EQ(fs_.free_bytes(), free_bytes);
  EXPECT_TRUE(must(fs_.image().is_zero(MountedFs::kDataOffset, 16 * kMiB)));
}

// --- fallocate

TEST_F(DataTest, FallocateTakesBlocksThatReadAsZeros) {
  EXPECT_EQ(fallocate(0, 100, 2 * kBlock), 0);
  EXPECT_EQ(fs_.attr(ino_).size, 100 + 2 * kBlock);
  EXPECT_EQ(blocks(), 3u);
  EXPECT_EQ(all(), zeros(100 + 2 * kBlock));
  EXPECT_EQ(fallocate(0, 0, 10), 0);
  EXPECT_EQ(fs_.attr(ino_).size, 100 + 2 * kBlock) << "never shrinks";
  EXPECT_EQ(fallocate(0, 0, 0), EINVAL);
  EXPECT_EQ(fallocate(FALLOC_FL_COLLAPSE_RANGE, 0, kBlock), EOPNOTSUPP);
  EXPECT_EQ(fallocate(FALLOC_FL_INSERT_RANGE, 0, kBlock), EOPNOTSUPP);
  EXPECT_EQ(fallocate(FALLOC_FL_PUNCH_HOLE, 0, kBlock), EOPNOTSUPP);
}

TEST_F(DataTest, KeepSizeTakesBlocksBehindTheEnd) {
  EXPECT_EQ(write(0, "abc"), 0);
  EXPECT_EQ(fallocate(FALLOC_FL_KEEP_SIZE, 0, 3 * kBlock), 0);
  EXPECT_EQ(fs_.attr(ino_).size, 3u);
  EXPECT_EQ(blocks(), 3u);
  EXPECT_EQ(write(2 * kBlock, "x"), 0);
  EXPECT_EQ(blocks(), 3u);
  EXPECT_EQ(all(), "abc" + zeros(2 * kBlock - 3) + "x");
  must(fs_.truncate(ino_, 2 * kBlock + 1));
  EXPECT_EQ(blocks(), 3u);
  EXPECT_EQ(fallocate(FALLOC_FL_KEEP_SIZE, 0, 10 * kBlock), 0);
  must(fs_.truncate(ino_, 2 * kBlock + 1));
  EXPECT_EQ(blocks(), 3u) << "a truncation to the same size takes them back";
}

TEST_F(DataTest, PunchingFreesBlocksAndZeroesTheRest) {
  EXPECT_EQ(write(0, std::string(5 * kBlock, 'x')), 0);
  EXPECT_EQ(fallocate(kPunch, kBlock - 10, 2 * kBlock + 20), 0);
  EXPECT_EQ(all(), std::string(kBlock - 10, 'x') + zeros(2 * kBlock + 20) +
                       std::string(2 * kBlock - 10, 'x'));
  EXPECT_EQ(blocks(), 3u);
  EXPECT_EQ(fs_.attr(ino_).size, 5 * kBlock);
  EXPECT_EQ(fallocate(kPunch, 10, 20), 0);
  EXPECT_EQ(fs_.read(ino_, 0, 40), std::string(10, 'x') + zeros(20) + std::string(10, 'x'));
  EXPECT_EQ(fallocate(kPunch, 4 * kBlock, 1 * kGiB), 0);
  EXPECT_EQ(blocks(), 2u);
  EXPECT_EQ(fs_.attr(ino_).size, 5 * kBlock);
}

TEST_F(DataTest, ZeroRangeZeroesAndTakesBlocks) {
  EXPECT_EQ(write(0, std::string(3 * kBlock, 'x')), 0);
  EXPECT_EQ(fallocate(FALLOC_FL_ZERO_RANGE, kBlock + 1, 4 * kBlock), 0);
  EXPECT_EQ(fs_.attr(ino_).size, 5 * kBlock + 1);
  EXPECT_EQ(all(), std::string(kBlock + 1, 'x') + zeros(4 * kBlock));
  EXPECT_EQ(blocks(), 6u);
  EXPECT_EQ(fallocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 10 * kBlock), 0);
  EXPECT_EQ(fs_.attr(ino_).size, 5 * kBlock + 1);
  EXPECT_EQ(all(), zeros(5 * kBlock + 1));
  EXPECT_EQ(blocks(), 10u);
}

// --- SEEK_DATA, SEEK_HOLE

TEST_F(DataTest, SeekFindsDataAndHoles) {
  EXPECT_EQ(write(2 * kBlock, std::string(kBlock, 'x')), 0);
  EXPECT_EQ(write(6 * kBlock, "x"), 0);
  EXPECT_EQ(seek(0, SEEK_DATA), int64_t{2 * kBlock});
  EXPECT_EQ(seek(2 * kBlock + 5, SEEK_DATA), int64_t{2 * kBlock + 5});
  EXPECT_EQ(seek(3 * kBlock, SEEK_DATA), int64_t{6 * kBlock});
  EXPECT_EQ(seek(0, SEEK_HOLE), 0);
  EXPECT_EQ(seek(2 * kBlock, SEEK_HOLE), int64_t{3 * kBlock});
  EXPECT_EQ(seek(6 * kBlock, SEEK_HOLE), int64_t{6 * kBlock + 1}) << "the end is a hole";
  EXPECT_EQ(seek(6 * kBlock + 1, SEEK_HOLE), -ENXIO);
  EXPECT_EQ(seek(6 * kBlock + 1, SEEK_DATA), -ENXIO);
  EXPECT_EQ(seek(0, SEEK_END), -EINVAL);
  must(fs_.truncate(ino_, 10 * kBlock));
  EXPECT_EQ(seek(7 * kBlock, SEEK_DATA), -ENXIO);
  EXPECT_EQ(seek(7 * kBlock, SEEK_HOLE), int64_t{7 * kBlock});
}

TEST_F(DataTest, SeekTakesLentRangesForData) {
  EXPECT_EQ(write(2 * kBlock, std::string(kBlock, 'x')), 0);
  must(fs_.truncate(ino_, 10 * kBlock));
  const std::vector<FileRange> lent = {
      {3 * kBlock, 4 * kBlock}, {5 * kBlock, 6 * kBlock}, {9 * kBlock, 20 * kBlock}};
  EXPECT_EQ(seek(2 * kBlock, SEEK_HOLE, lent), int64_t{4 * kBlock});
  EXPECT_EQ(seek(4 * kBlock, SEEK_DATA, lent), int64_t{5 * kBlock});
  EXPECT_EQ(seek(5 * kBlock, SEEK_HOLE, lent), int64_t{6 * kBlock});
  EXPECT_EQ(seek(6 * kBlock, SEEK_DATA, lent), int64_t{9 * kBlock});
  EXPECT_EQ(seek(9 * kBlock, SEEK_HOLE, lent), int64_t{10 * kBlock});
  EXPECT_EQ(seek(0, SEEK_DATA, {{10 * kBlock, 20 * kBlock}}), int64_t{2 * kBlock});
  EXPECT_EQ(seek(3 * kBlock, SEEK_DATA, {{10 * kBlock, 20 * kBlock}}), -ENXIO);
}

// --- where blocks lie

TEST_F(DataTest, LargeFilesLieCongruentAlsoAfterARemount) {
  must(fs_.truncate(ino_, 8 * kMiB));
  EXPECT_EQ(write(5 * kMiB + 3 * kBlock, "x"), 0);
  fs_.remount();
  EXPECT_EQ(write(5 * kMiB + 4 * kBlock, "x"), 0);
  EXPECT_EQ(write(5 * kMiB, "x"), 0);
  for (const auto& [file, data] : must(fs_->extents(ino_))) {
    EXPECT_EQ(file.begin % kChunk, data.begin % kChunk);
  }
  EXPECT_EQ(blocks(), 3u);
}

TEST_F(DataTest, ASequentialFileIsFewExtents) {
  const std::string bytes(128 * kKiB, 's');
  for (uint64_t at = 0; at < 20 * kMiB; at += bytes.size()) ASSERT_EQ(write(at, bytes), 0);
  EXPECT_LE(must(fs_->extents(ino_)).size(), 2u);
}

TEST_F(DataTest, ForgettingAnInodeEndsItsReservations) {
  MountedFs fs(2 * kMiB);
  const uint64_t large = fs.make("large");
  must(fs.truncate(large, 4 * kMiB));
  ASSERT_FALSE(fs.write(large, 0, "x").err());
  fs->forget(large);
  const uint64_t small = fs.make("small");
  ASSERT_FALSE(fs.write(small, 0, std::string(2 * kMiB - kBlock, 'y')).err());
  EXPECT_EQ(must(fs->extents(small)).size(), 1u);
}

// --- no space

TEST_F(DataTest, AWriteThatDoesNotFitChangesNothing) {
  MountedFs fs(2 * kMiB);
  const uint64_t ino = fs.make("f");
  ASSERT_FALSE(fs.write(ino, 0, "abc").err());
  const Attr before = fs.attr(ino);
  fs.advance_ns(1000);
  const uint64_t free_bytes = fs.free_bytes();
  EXPECT_EQ(fs.write(ino, 1, std::string(2 * kMiB, 'x')).err(), ENOSPC);
  EXPECT_EQ(fs->fallocate(ino, 0, 0, 3 * kMiB).err(), ENOSPC);
  EXPECT_EQ(fs.attr(ino).size, 3u);
  EXPECT_EQ(fs.attr(ino).mtime.tv_nsec, before.mtime.tv_nsec);
  EXPECT_EQ(fs.read(ino, 0, 3), "abc");
  EXPECT_EQ(fs.free_bytes(), free_bytes);
  ASSERT_FALSE(fs.write(ino, 3, std::string(2 * kMiB - 3, 'x')).err()) << "to the last block";
  EXPECT_EQ(fs.free_bytes(), 0u);
  EXPECT_EQ(fs.write(ino, 2 * kMiB, "x").err(), ENOSPC);
  ASSERT_FALSE(fs.write(ino, 0, std::string(2 * kMiB, 'z')).err()) << "in place";
}

TEST_F(DataTest, UnlinkedSpaceCanBeUsedAtOnce) {
  MountedFs fs(2 * kMiB);
  for (int round = 0; round < 20; ++round) {
    const uint64_t ino = fs.make("f");
    ASSERT_FALSE(fs.write(ino, 0, std::string(2 * kMiB, 'x')).err());
    must(fs->unlink(fs.root(), "f"));
  }
}

TEST_F(DataTest, AWriteWaitsForSpaceThatIsOnItsWayBack) {
  MountedFs fs(2 * kMiB);
  const uint64_t old = fs.make("old");
  ASSERT_FALSE(fs.write(old, 0, std::string(2 * kMiB, 'x')).err());
  const uint64_t ino = fs.make("new");
  auto in_flight = fs.srcu().read_lock();
  must(fs->unlink(fs.root(), "old"));
  int err = -1;
  std::thread writer([&] { err = fs.write(ino, 0, "x").err(); });
  std::thread request([section = std::move(in_flight)]() mutable { section.close(); });
  request.join();
  writer.join();
  EXPECT_EQ(err, 0);
}

TEST_F(DataTest, AFullDatabaseIsEnospcAndChangesNothing) {
  ASSERT_EQ(write(0, "abc"), 0);
  const uint64_t free_bytes = fs_.free_bytes();
  const auto limit_pages = [&](uint64_t pages) {
    MutexLock lock(fs_.db().mutex());
    must(fs_.db().execute(fmt::format("PRAGMA max_page_count = {}", pages)));
  };
  limit_pages(1);  // no more than it has; what fits into those still goes
  size_t created = 0;
  int err = 0;
  while (err == 0) {
    err = fs_->mknod(fs_.root(), fmt::format("{:0>250}", created), S_IFREG, 0, {}).err();
    if (err == 0) ++created;
  }
  EXPECT_EQ(err, ENOSPC);
  EXPECT_EQ(fs_.names(fs_.root()).size(), 3 + created);
  uint64_t extents = 1;
  while ((err = write(2 * extents * kBlock, "x")) == 0) ++extents;
  EXPECT_EQ(err, ENOSPC);
  EXPECT_EQ(blocks(), extents);
  EXPECT_EQ(fs_.attr(ino_).size, 2 * (extents - 1) * kBlock + 1);
  EXPECT_EQ(fs_.free_bytes(), free_bytes - (extents - 1) * kBlock);
  limit_pages(100000);
  EXPECT_EQ(write(2 * extents * kBlock, "x"), 0);
  fs_.make("goes again");
}

}  // namespace
}  // namespace pmemd
