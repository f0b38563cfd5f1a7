// getattr, setattr; which call stamps which time.
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <string>

#include "core/filesystem/filesystem.h"
#include "core/filesystem/inode.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

constexpr int64_t kBirth = 1000;
constexpr int64_t kLater = 2000;

class AttrTest : public testing::Test {
 protected:
  AttrTest() {
    fs_.set_time(kBirth);
    ino_ = fs_.make("f");
    EXPECT_FALSE(fs_.write(ino_, 0, std::string(10000, 'x')).err());
    fs_.set_time(kLater);
  }
  // Which of atime, mtime, ctime are `kLater`, as letters.
  std::string stamped() {
    const Attr attr = fs_.attr(ino_);
    std::string letters;
    if (attr.atime.tv_sec == kLater) letters += 'a';
    if (attr.mtime.tv_sec == kLater) letters += 'm';
    if (attr.ctime.tv_sec == kLater) letters += 'c';
    EXPECT_EQ(attr.btime.tv_sec, kBirth);
    return letters;
  }

  MountedFs fs_;
  uint64_t ino_ = 0;
};

TEST_F(AttrTest, ChmodAndChownStampCtime) {
  SetAttr change;
  change.mode = 04755;
  EXPECT_EQ(must(fs_->setattr(ino_, change)).mode, S_IFREG | 04755u);
  EXPECT_EQ(stamped(), "c");
  SetAttr owner;
  owner.uid = 5;
  owner.gid = 6;
  const Attr attr = must(fs_->setattr(ino_, owner));
  EXPECT_EQ(attr.uid, 5u);
  EXPECT_EQ(attr.gid, 6u);
  EXPECT_EQ(attr.mode, S_IFREG | 04755u);
  EXPECT_EQ(stamped(), "c");
  fs_.crash();
  EXPECT_EQ(fs_.attr(ino_).uid, 5u);
}

TEST_F(AttrTest, TypesCannotBeChanged) {
  SetAttr change;
  change.mode = S_IFDIR | 0700;
  EXPECT_EQ(must(fs_->setattr(ino_, change)).mode, S_IFREG | 0700u);
}

TEST_F(AttrTest, TruncateStampsMtimeAndCtimeAtTheSameSizeToo) {
  must(fs_.truncate(ino_, 10000));
  EXPECT_EQ(stamped(), "mc");
}

TEST_F(AttrTest, WritesStampMtimeAndCtimeAlsoInPlace) {
  ASSERT_FALSE(fs_.write(ino_, 0, "y").err());
  EXPECT_EQ(stamped(), "mc");
}

TEST_F(AttrTest, AppendsStampMtimeAndCtime) {
  ASSERT_FALSE(fs_.write(ino_, 100000, "y").err());
  EXPECT_EQ(stamped(), "mc");
}

TEST_F(AttrTest, FallocateStampsMtimeAndCtime) {
  must(fs_->fallocate(ino_, FALLOC_FL_KEEP_SIZE, 0, 100));
  EXPECT_EQ(stamped(), "mc");
}

TEST_F(AttrTest, PunchingStampsMtimeAndCtime) {
  must(fs_->fallocate(ino_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 100));
  EXPECT_EQ(stamped(), "mc");
}

TEST_F(AttrTest, XattrsStampCtime) {
  must(fs_->xattrs().set(ino_, "user.a", "b", 0, false));
  EXPECT_EQ(stamped(), "c");
}

TEST_F(AttrTest, RemovingAnXattrStampsCtime) {
  fs_.set_time(kBirth);
  must(fs_->xattrs().set(ino_, "user.a", "b", 0, false));
  fs_.set_time(kLater);
  must(fs_->xattrs().remove(ino_, "user.a"));
  EXPECT_EQ(stamped(), "c");
}

TEST_F(AttrTest, WhatFailsStampsNothing) {
  EXPECT_EQ(fs_->xattrs().remove(ino_, "user.a").err(), ENODATA);
  EXPECT_EQ(fs_.truncate(ino_, UINT64_MAX).err(), EFBIG);
  EXPECT_EQ(fs_->link(ino_, fs_.root(), "f").err(), EEXIST);
  EXPECT_EQ(stamped(), "");
}

TEST_F(AttrTest, ReadsStampAtimeIfItIsNotNewer) {
  fs_.read(ino_, 0, 10);
  EXPECT_EQ(stamped(), "a");
  fs_.set_time(kLater + 5);
  fs_.read(ino_, 0, 10);
  EXPECT_EQ(stamped(), "a") << "newer than mtime and ctime already";
  ASSERT_FALSE(fs_.write(ino_, 0, "y").err());
  fs_.set_time(kLater + 6);
  fs_.read(ino_, 0, 10);
  EXPECT_EQ(fs_.attr(ino_).atime.tv_sec, kLater + 6);
  fs_.set_time(kLater + 6 + 24 * 3600);
  fs_.read(ino_, 0, 10);
  EXPECT_EQ(fs_.attr(ino_).atime.tv_sec, kLater + 6 + 24 * 3600) << "a day old";
}

TEST_F(AttrTest, ReadsOfNothingStampNothing) {
  EXPECT_EQ(fs_.read(ino_, 10000, 10), "");
  EXPECT_EQ(stamped(), "");
}

TEST_F(AttrTest, TimesAreSetToTheNanosecondAndStampCtime) {
  SetAttr change;
  change.atime = timespec{-5, 999999999};
  change.mtime = timespec{4'000'000'000, 1};
  must(fs_->setattr(ino_, change));
  fs_.crash();
  const Attr attr = fs_.attr(ino_);
  EXPECT_EQ(attr.atime.tv_sec, -5);
  EXPECT_EQ(attr.atime.tv_nsec, 999999999);
  EXPECT_EQ(attr.mtime.tv_sec, 4'000'000'000);
  EXPECT_EQ(attr.mtime.tv_nsec, 1);
  EXPECT_EQ(attr.ctime.tv_sec, kLater);
}

TEST_F(AttrTest, ATimeGivenWithATruncationCounts) {
  SetAttr change;
  change.size = 5;
  change.mtime = timespec{7, 7};
  EXPECT_EQ(must(fs_->setattr(ino_, change)).mtime.tv_sec, 7);
}

TEST_F(AttrTest, TimesKeptInMemoryAreWrittenWithTheNextChange) {
  ASSERT_FALSE(fs_.write(ino_, 0, "y").err());
  SetAttr change;
  change.mode = 0600;
  must(fs_->setattr(ino_, change));
  fs_.crash();
  EXPECT_EQ(fs_.attr(ino_).mtime.tv_sec, kLater);
}

TEST_F(AttrTest, FlushTimesWritesThemAll) {
  ASSERT_FALSE(fs_.write(ino_, 0, "y").err());
  must(fs_->flush_times());
  fs_.crash();
  EXPECT_EQ(stamped(), "mc");
}

TEST_F(AttrTest, OnlyRegularFilesHaveASizeToSet) {
  EXPECT_EQ(fs_.truncate(fs_.root(), 0).err(), EISDIR);
  EXPECT_EQ(fs_.truncate(fs_.make("p", 0, S_IFIFO | 0600), 0).err(), EINVAL);
}

TEST_F(AttrTest, AFailedSizeLeavesTheRest) {
  SetAttr change;
  change.mode = 0;
  change.size = kFileSizeMax + 1;
  EXPECT_EQ(fs_->setattr(ino_, change).err(), EFBIG);
  EXPECT_EQ(fs_.attr(ino_).mode, S_IFREG | 0644u);
}

TEST_F(AttrTest, DirectoriesGrowByTheBlock) {
  for (int i = 0; i < 64; ++i) fs_.make(std::to_string(i));
  EXPECT_EQ(fs_.attr(fs_.root()).size, 8192u);
  EXPECT_EQ(fs_.attr(fs_.root()).blocks, 16u);
}

TEST(Times, FitInto64Bits) {
  for (const timespec& time : {timespec{0, 0}, timespec{-1, 1}, timespec{-1, 999999999},
                               timespec{9'000'000'000, 999999999}, timespec{-9'000'000'000, 0}}) {
    const timespec back = to_timespec(to_nanoseconds(time));
    EXPECT_EQ(back.tv_sec, time.tv_sec);
    EXPECT_EQ(back.tv_nsec, time.tv_nsec);
  }
  EXPECT_GT(to_timespec(to_nanoseconds({INT64_MAX, 0})).tv_sec, 9'000'000'000);
  EXPECT_LT(to_timespec(to_nanoseconds({INT64_MIN, 0})).tv_sec, -9'000'000'000);
}

}  // namespace
}  // namespace pmemd
