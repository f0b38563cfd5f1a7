#include "core/filesystem/filesystem.h"

#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

TEST(FileSystem, ANewOneHasARoot) {
  MountedFs fs;
  const Attr root = fs.attr(fs.root());
  EXPECT_EQ(root.mode, S_IFDIR | 0755u);
  EXPECT_EQ(root.nlink, 2u);
  EXPECT_EQ(root.size, 4096u);
  EXPECT_EQ(must(fs->lookup(fs.root(), "..")).ino, fs.root());
  EXPECT_EQ(fs.names(fs.root()), (std::vector<std::string>{".", ".."}));
}

TEST(FileSystem, WhatIsWrittenIsReadAlsoAfterARemountAndACrash) {
  MountedFs fs;
  const uint64_t ino = fs.make("file");
  ASSERT_FALSE(fs.write(ino, 10, "hello").err());
  EXPECT_EQ(fs.read(ino, 0, 100), std::string(10, '\0') + "hello");
  fs.remount();
  EXPECT_EQ(fs.read(ino, 10, 5), "hello");
  fs.crash();
  EXPECT_EQ(fs.read(ino, 10, 5), "hello");
  EXPECT_EQ(must(fs->lookup(fs.root(), "file")).ino, ino);
}

TEST(FileSystem, AnUnknownInodeIsStale) {
  MountedFs fs;
  const uint64_t ino = fs.root() + 1000;
  EXPECT_EQ(fs->getattr(ino).err(), ESTALE);
  EXPECT_EQ(fs->lookup(ino, "x").err(), ESTALE);
  EXPECT_EQ(fs->lookup(ino, ".").err(), ESTALE);
  EXPECT_EQ(fs->setattr(ino, {}).err(), ESTALE);
  EXPECT_EQ(fs->read(ino, {0, 1}).err(), ESTALE);
  EXPECT_EQ(fs.write(ino, 0, "x").err(), ESTALE);
  EXPECT_EQ(fs->readlink(ino).err(), ESTALE);
  EXPECT_EQ(fs->mkdir(ino, "x", 0755, {}).err(), ESTALE);
  EXPECT_EQ(fs->xattrs().set(ino, "user.x", "", 0, false).err(), ESTALE);
  EXPECT_EQ(fs->xattrs().get(ino, "user.x").err(), ESTALE);
  EXPECT_EQ(fs->xattrs().list(ino).err(), ESTALE);
  EXPECT_EQ(fs->fsync(ino, false).err(), ESTALE);
}

TEST(FileSystem, InodeNumbersAreNeverUsedAgain) {
  MountedFs fs;
  const uint64_t first = fs.make("a");
  must(fs->unlink(fs.root(), "a"));
  fs.crash();
  EXPECT_GT(fs.make("a"), first);
}

TEST(FileSystem, AnUnlinkedInodeLivesAsLongAsTheKernelKnowsIt) {
  MountedFs fs;
  const uint64_t ino = fs.make("a");
  fs.lookups().add(ino);
  ASSERT_FALSE(fs.write(ino, 0, "still here").err());
  const uint64_t free_bytes = fs.free_bytes();
  must(fs->unlink(fs.root(), "a"));
  EXPECT_EQ(fs.attr(ino).nlink, 0u);
  fs.remount();
  EXPECT_EQ(fs.read(ino, 0, 100), "still here");
  fs.crash();
  EXPECT_EQ(fs.read(ino, 0, 100), "still here");

  EXPECT_TRUE(fs.lookups().drop(ino, 1));
  fs->forget(ino);
  EXPECT_EQ(fs->getattr(ino).err(), ESTALE);
  EXPECT_EQ(fs.free_bytes(), free_bytes + kPageSize);
}

TEST(FileSystem, ForgettingAnInodeThatWasNotLoadedRemovesItToo) {
  MountedFs fs;
  const uint64_t ino = fs.make("a");
  fs.lookups().add(ino);
  must(fs->unlink(fs.root(), "a"));
  fs.remount();
  EXPECT_TRUE(fs.lookups().drop(ino, 1));
  fs->forget(ino);
  EXPECT_EQ(fs->getattr(ino).err(), ESTALE);
}

// --- the cache is bounded

constexpr size_t kFewInodes = 100;

// Whatever loads them: create, getattr, unlink.
TEST(InodeCache, DoesNotGrowWithWhatTheKernelKnows) {
  MountedFs fs;
  fs.set_cached_inodes_max(kFewInodes);
  fs.remount();
  std::vector<uint64_t> inos;
  for (int i = 0; i < 600; ++i) {
    inos.push_back(fs.make(std::to_string(i)));
    fs.lookups().add(inos.back());
    ASSERT_LE(fs->cached_inodes(), 2 * kFewInodes);
  }
  for (const uint64_t ino : inos) {
    EXPECT_EQ(fs.attr(ino).ino, ino);
    ASSERT_LE(fs->cached_inodes(), 2 * kFewInodes);
  }
  for (int i = 0; i < 600; ++i) {
    must(fs->link(inos[static_cast<size_t>(i)], fs.root(), "l" + std::to_string(i)));
    ASSERT_LE(fs->cached_inodes(), 2 * kFewInodes);
  }
  fs.remount();
  must(fs->readdirplus(fs.root(), 0, [](const DirEntry&, const Attr&) { return true; }));
  must(fs->lookup(fs.root(), "7"));
  EXPECT_EQ(fs->cached_inodes(), 1u);  // the root: what is only told of isn't kept
}

// Times that only memory has are written before it forgets them.
TEST(InodeCache, LosesNothingOfWhatItLetsGo) {
  MountedFs fs;
  fs.set_cached_inodes_max(kFewInodes);
  fs.remount();
  std::vector<uint64_t> inos;
  for (int i = 0; i < 400; ++i) {
    inos.push_back(fs.make(std::to_string(i)));
    must(fs.write(inos.back(), 0, std::to_string(i)));
  }
  fs.set_time(2'000'000);
  for (size_t i = 0; i < inos.size(); ++i) must(fs.write(inos[i], 0, std::to_string(i)));
  EXPECT_LE(fs->cached_inodes(), 2 * kFewInodes);
  for (size_t i = 0; i < inos.size(); ++i) {
    EXPECT_EQ(fs.attr(inos[i]).mtime.tv_sec, 2'000'000);
    EXPECT_EQ(fs.read(inos[i], 0, 10), std::to_string(i));
  }
}

// An inode without a name is found again by nobody: it must go when it is forgotten.
TEST(InodeCache, KeepsInodesWithoutLinks) {
  MountedFs fs;
  fs.set_cached_inodes_max(kFewInodes);
  fs.remount();
  const uint64_t ino = fs.make("a");
  fs.lookups().add(ino);
  must(fs.write(ino, 0, std::string(kPageSize, 'a')));
  must(fs->unlink(fs.root(), "a"));
  const uint64_t free_bytes = fs.free_bytes();
  for (int i = 0; i < 300; ++i) fs.make(std::to_string(i));
  EXPECT_EQ(fs.attr(ino).nlink, 0u);
  EXPECT_TRUE(fs.lookups().drop(ino, 1));
  fs->forget(ino);
  EXPECT_EQ(fs->getattr(ino).err(), ESTALE);
  EXPECT_EQ(fs.free_bytes(), free_bytes + kPageSize);
}

TEST(InodeCache, ForgettingWhatItDoesNotHaveAsksTheTableNothing) {
  MountedFs fs;
  const uint64_t ino = fs.make("a");
  fs.remount();
  fs->forget(ino);
  EXPECT_EQ(fs->cached_inodes(), 0u);
  EXPECT_EQ(fs.attr(ino).nlink, 1u);
}

TEST(FileSystem, AMountRemovesOrphansThatNobodyKnows) {
  MountedFs fs;
  const uint64_t free_bytes = fs.free_bytes();
  const uint64_t ino = fs.make("a");
  fs.lookups().add(ino);
  ASSERT_FALSE(fs.write(ino, 0, "x").err());
  must(fs->unlink(fs.root(), "a"));
  fs.lookups().drop(ino, 1);  // as when the mount goes without a word
  fs.crash();
  EXPECT_EQ(fs->getattr(ino).err(), ESTALE);
  EXPECT_EQ(fs.free_bytes(), free_bytes);
}

TEST(FileSystem, ForgetKeepsWhatHasALink) {
  MountedFs fs;
  const uint64_t ino = fs.make("a");
  fs->forget(ino);
  EXPECT_EQ(fs.attr(ino).nlink, 1u);
}

TEST(FileSystem, ForgetWritesTimes) {
  MountedFs fs;
  const uint64_t ino = fs.make("a");
  ASSERT_FALSE(fs.write(ino, 0, "abc").err());
  fs.set_time(2'000'000);
  ASSERT_FALSE(fs.write(ino, 0, "xyz").err());
  fs->forget(ino);
  fs.crash();
  EXPECT_EQ(fs.attr(ino).mtime.tv_sec, 2'000'000);
}

TEST(FileSystem, FsyncWritesTimesAndFdatasyncNeedNot) {
  MountedFs fs;
  const uint64_t ino = fs.make("a");
  ASSERT_FALSE(fs.write(ino, 0, "abc").err());
  fs.set_time(2'000'000);
  ASSERT_FALSE(fs.write(ino, 0, "xyz").err());
  must(fs->fsync(ino, true));
  must(fs->fsync(ino, false));
  fs.crash();
  EXPECT_EQ(fs.attr(ino).mtime.tv_sec, 2'000'000);
  EXPECT_EQ(fs.read(ino, 0, 3), "xyz");
}

// What nothing has been added to wasn't committed to.
uint64_t wal_bytes(const std::string& image_path) {
  return std::filesystem::file_size(
      std::filesystem::path(image_path).replace_filename("pool.db-wal"));
}

// A program that stores and syncs in a loop does so many times a tick of the coarse clock.
TEST(FileSystem, FsyncCommitsNothingWhenNoTimeHasChanged) {
  MountedFs fs;
  const uint64_t ino = fs.make("a");
  ASSERT_FALSE(fs.write(ino, 0, "abc").err());
  fs.set_time(2'000'000);
  ASSERT_FALSE(fs.write(ino, 0, "def").err());
  must(fs->fsync(ino, false));
  const uint64_t before = wal_bytes(fs.image_path());
  for (int i = 0; i < 3; ++i) {
    ASSERT_FALSE(fs.write(ino, 0, "xyz").err());
    must(fs->fsync(ino, false));
  }
  EXPECT_EQ(wal_bytes(fs.image_path()), before);
  fs.advance_ns(4'000'000);
  ASSERT_FALSE(fs.write(ino, 0, "xyz").err());
  must(fs->fsync(ino, false));
  EXPECT_GT(wal_bytes(fs.image_path()), before);
  fs.crash();
  EXPECT_EQ(fs.attr(ino).mtime.tv_nsec, 4'000'000);
}

// Bytes of the mapped image that the host hasn't written to its disk.
uint64_t dirty_bytes(const std::string& path) {
  std::ifstream smaps("/proc/self/smaps");
  uint64_t dirty_kib = 0;
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    const std::string key = line.substr(0, line.find(' '));
    if (key.find('-') != key.npos) inside = line.ends_with(path);
    if (inside && (key == "Shared_Dirty:" || key == "Private_Dirty:")) {
      dirty_kib += std::stoull(line.substr(key.size()));
    }
  }
  return dirty_kib * kKiB;
}

TEST(FileSystem, FsyncLeavesNothingOfTheFileDirty) {
  MountedFs fs;
  struct statfs host = {};
  ASSERT_EQ(::statfs(fs.image_path().c_str(), &host), 0);
  if (host.f_type == TMPFS_MAGIC) GTEST_SKIP() << "a tmpfs is never clean";
  const uint64_t ino = fs.make("a");
  const std::string bytes(20 * kPageSize, 'x');
  ASSERT_FALSE(fs.write(ino, 0, bytes).err());
  EXPECT_EQ(dirty_bytes(fs.image_path()), bytes.size());
  must(fs->fsync(ino, true));
  EXPECT_EQ(dirty_bytes(fs.image_path()), 0u);
  ASSERT_FALSE(fs.write(ino, 5 * kPageSize, "overwritten").err());
  EXPECT_EQ(dirty_bytes(fs.image_path()), kPageSize);
  must(fs->fsync(ino, true));
  EXPECT_EQ(dirty_bytes(fs.image_path()), 0u);
  must(fs->fallocate(ino, FALLOC_FL_ZERO_RANGE, 10, 20));
  EXPECT_EQ(dirty_bytes(fs.image_path()), kPageSize);
  // Who has forgotten what was written makes sure of all.
  ASSERT_FALSE(fs.write(ino, 9 * kPageSize, "overwritten").err());
  fs->forget(ino);
  must(fs->fsync(ino, false));
  EXPECT_EQ(dirty_bytes(fs.image_path()), 0u);
  ASSERT_FALSE(fs.write(ino, 9 * kPageSize, "overwritten").err());
  fs.crash();
  must(fs->fsync(ino, false));
  EXPECT_EQ(dirty_bytes(fs.image_path()), 0u);
}

TEST(FileSystem, AnUncleanMountZeroesFreeSpace) {
  MountedFs fs;
  const std::string junk(kPageSize, 'j');
  const uint64_t at = MountedFs::kDataOffset + 5 * kMiB;
  must(fs.image().write(at, std::as_bytes(std::span(junk))));
  EXPECT_FALSE(must(fs.image().is_zero(at, kPageSize)));
  fs.crash();
  EXPECT_TRUE(must(fs.image().is_zero(at, kPageSize)));
}

TEST(FileSystem, FreedSpaceReadsAsZerosAndOnlyAfterRequestsInFlight) {
  MountedFs fs;
  const uint64_t ino = fs.make("a");
  ASSERT_FALSE(fs.write(ino, 0, std::string(kPageSize, 'x')).err());
  const uint64_t at = MountedFs::kDataOffset + must(fs->extents(ino)).front().second.begin;
  const uint64_t free_bytes = fs.free_bytes();
  auto in_flight = fs.srcu().read_lock();
  must(fs->unlink(fs.root(), "a"));
  EXPECT_EQ(fs.free_bytes(), free_bytes + kPageSize) << "it is as good as free";
  EXPECT_FALSE(must(fs.image().is_zero(at, kPageSize)));
  in_flight.close();
  EXPECT_EQ(fs.free_bytes(), free_bytes + kPageSize);
  EXPECT_TRUE(must(fs.image().is_zero(at, kPageSize)));
}

TEST(FileSystem, OverlappingExtentsAreNotMounted) {
  MountedFs fs;
  const uint64_t ino = fs.make("a");
  ASSERT_FALSE(fs.write(ino, 0, std::string(kPageSize, 'x')).err());
  {
    MutexLock lock(fs.db().mutex());
    must(
        fs.db().execute("INSERT INTO extents SELECT ino + 1, file_offset, data_offset, length"
                        " FROM extents"));
  }
  EXPECT_EQ(fs.try_mount(true).err(), EIO);
}

TEST(FileSystem, StatfsCountsBlocksAndInodes) {
  MountedFs fs(16 * kMiB);
  const auto before = must(fs->statfs());
  EXPECT_EQ(before.f_frsize, kPageSize);
  EXPECT_EQ(before.f_blocks, 16 * kMiB / kPageSize);
  EXPECT_EQ(before.f_bfree, before.f_blocks);
  EXPECT_EQ(before.f_files - before.f_ffree, 1u);
  EXPECT_EQ(before.f_namemax, 255u);
  const uint64_t ino = fs.make("a");
  ASSERT_FALSE(fs.write(ino, 0, "x").err());
  const auto after = must(fs->statfs());
  EXPECT_EQ(after.f_bfree, before.f_bfree - 1);
  EXPECT_EQ(after.f_bavail, after.f_bfree);
  EXPECT_EQ(after.f_files - after.f_ffree, 2u);
  must(fs->unlink(fs.root(), "a"));
  EXPECT_EQ(must(fs->statfs()).f_files - must(fs->statfs()).f_ffree, 1u);
}

TEST(LookupCounts, TellsWhenTheLastOneGoes) {
  LookupCounts counts;
  counts.add(5);
  counts.add(5, 2);
  EXPECT_EQ(counts.size(), 1u);
  EXPECT_EQ(counts.known(), std::vector<uint64_t>{5});
  EXPECT_FALSE(counts.drop(5, 2));
  EXPECT_TRUE(counts.is_known(5));
  EXPECT_TRUE(counts.drop(5, 1));
  EXPECT_FALSE(counts.is_known(5));
  EXPECT_FALSE(counts.drop(5, 1));
}

}  // namespace
}  // namespace pmemd
