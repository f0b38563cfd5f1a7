#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fs.h>

#include <string>

#include "core/filesystem/filesystem.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

using testing::ElementsAre;

class RenameTest : public testing::Test {
 protected:
  RenameTest() {
    fs_.set_time(100);
    a_ = fs_.make_dir("a");
    b_ = fs_.make_dir("b");
  }
  int rename(uint64_t parent, std::string_view name, uint64_t new_parent, std::string_view new_name,
             unsigned flags = 0) {
    return fs_->rename(parent, name, new_parent, new_name, flags).err();
  }
  uint64_t ino(uint64_t parent, std::string_view name) {
    const auto found = fs_->lookup(parent, name);
    return found ? found->ino : 0;
  }

  MountedFs fs_;
  uint64_t a_ = 0, b_ = 0;
};

TEST_F(RenameTest, MovesAName) {
  const uint64_t file = fs_.make("f", a_);
  fs_.set_time(200);
  EXPECT_EQ(rename(a_, "f", b_, "g"), 0);
  EXPECT_EQ(ino(a_, "f"), 0u);
  EXPECT_EQ(ino(b_, "g"), file);
  EXPECT_EQ(fs_.attr(a_).mtime.tv_sec, 200);
  EXPECT_EQ(fs_.attr(a_).ctime.tv_sec, 200);
  EXPECT_EQ(fs_.attr(b_).mtime.tv_sec, 200);
  EXPECT_EQ(fs_.attr(file).ctime.tv_sec, 200);
  EXPECT_EQ(fs_.attr(file).mtime.tv_sec, 100);
  EXPECT_EQ(fs_->rmdir(fs_.root(), "a").err(), 0);  // empty again
  EXPECT_EQ(fs_->rmdir(fs_.root(), "b").err(), ENOTEMPTY);
}

TEST_F(RenameTest, MovesADirectoryWithItsDotDot) {
  const uint64_t sub = fs_.make_dir("s", a_);
  fs_.make("f", sub);
  EXPECT_EQ(rename(a_, "s", b_, "t"), 0);
  EXPECT_EQ(must(fs_->lookup(sub, "..")).ino, b_);
  EXPECT_EQ(fs_.attr(a_).nlink, 2u);
  EXPECT_EQ(fs_.attr(b_).nlink, 3u);
  EXPECT_EQ(rename(b_, "t", b_, "u"), 0);
  EXPECT_EQ(fs_.attr(b_).nlink, 3u);
  fs_.crash();
  EXPECT_EQ(must(fs_->lookup(sub, "..")).ino, b_);
}

TEST_F(RenameTest, ReplacesAFile) {
  const uint64_t from = fs_.make("f", a_);
  const uint64_t to = fs_.make("g", b_);
  must(fs_->link(to, b_, "h"));
  fs_.set_time(200);
  EXPECT_EQ(rename(a_, "f", b_, "g"), 0);
  EXPECT_EQ(ino(b_, "g"), from);
  EXPECT_EQ(fs_.attr(to).nlink, 1u);
  EXPECT_EQ(fs_.attr(to).ctime.tv_sec, 200);
  EXPECT_EQ(rename(b_, "g", b_, "h"), 0);
  EXPECT_EQ(fs_->getattr(to).err(), ESTALE);
  EXPECT_THAT(fs_.names(b_), ElementsAre(".", "..", "h"));
}

TEST_F(RenameTest, AReplacedFileStaysForWhoHasItOpen) {
  fs_.make("f", a_);
  const uint64_t to = fs_.make("g", a_);
  ASSERT_FALSE(fs_.write(to, 0, "old").err());
  fs_.lookups().add(to);
  EXPECT_EQ(rename(a_, "f", a_, "g"), 0);
  EXPECT_EQ(fs_.read(to, 0, 3), "old");
  EXPECT_EQ(fs_.attr(to).nlink, 0u);
}

TEST_F(RenameTest, ReplacesAnEmptyDirectory) {
  const uint64_t from = fs_.make_dir("s", a_);
  const uint64_t to = fs_.make_dir("t", b_);
  EXPECT_EQ(rename(a_, "s", b_, "t"), 0);
  EXPECT_EQ(ino(b_, "t"), from);
  EXPECT_EQ(fs_->getattr(to).err(), ESTALE);
  EXPECT_EQ(fs_.attr(a_).nlink, 2u);
  EXPECT_EQ(fs_.attr(b_).nlink, 3u);
  fs_.make_dir("u", b_);
  EXPECT_EQ(rename(b_, "u", b_, "t"), 0);
  EXPECT_EQ(fs_.attr(b_).nlink, 3u);
}

TEST_F(RenameTest, RefusesWhatDoesNotFit) {
  fs_.make("f");
  const uint64_t sub = fs_.make_dir("s", a_);
  EXPECT_EQ(rename(fs_.root(), "f", fs_.root(), "b"), EISDIR);
  EXPECT_EQ(rename(fs_.root(), "b", fs_.root(), "f"), ENOTDIR);
  EXPECT_EQ(rename(fs_.root(), "b", fs_.root(), "a"), ENOTEMPTY);
  EXPECT_EQ(rename(fs_.root(), "x", fs_.root(), "a"), ENOENT);
  EXPECT_EQ(rename(fs_.root(), "f", ino(fs_.root(), "f"), "x"), ENOTDIR);
  EXPECT_EQ(rename(fs_.root(), "a", a_, "x"), EINVAL);
  EXPECT_EQ(rename(fs_.root(), "a", sub, "x"), EINVAL);
  EXPECT_EQ(rename(a_, "s", fs_.root(), "a"), ENOTEMPTY);
  EXPECT_EQ(rename(fs_.root(), ".", fs_.root(), "x"), EBUSY);
  EXPECT_EQ(rename(fs_.root(), "a", fs_.root(), ".."), EBUSY);
  EXPECT_EQ(rename(fs_.root(), std::string(256, 'n'), fs_.root(), "x"), ENAMETOOLONG);
  EXPECT_EQ(rename(fs_.root(), "f", fs_.root(), std::string(256, 'n')), ENAMETOOLONG);
  EXPECT_EQ(rename(fs_.root(), "f", fs_.root(), "x", RENAME_WHITEOUT), EINVAL);
  EXPECT_EQ(rename(fs_.root(), "f", fs_.root(), "x", RENAME_NOREPLACE | RENAME_EXCHANGE), EINVAL);
  EXPECT_THAT(fs_.names(fs_.root()), ElementsAre(".", "..", "a", "b", "f"));
}

TEST_F(RenameTest, TwoNamesOfOneInodeStay) {
  const uint64_t file = fs_.make("f", a_);
  must(fs_->link(file, b_, "g"));
  fs_.set_time(200);
  EXPECT_EQ(rename(a_, "f", b_, "g"), 0);
  EXPECT_EQ(ino(a_, "f"), file);
  EXPECT_EQ(ino(b_, "g"), file);
  EXPECT_EQ(fs_.attr(file).ctime.tv_sec, 100);
  EXPECT_EQ(rename(a_, "f", a_, "f"), 0);
  EXPECT_EQ(fs_.attr(file).nlink, 2u);
}

TEST_F(RenameTest, NoreplaceReplacesNothing) {
  const uint64_t file = fs_.make("f", a_);
  fs_.make("g", a_);
  EXPECT_EQ(rename(a_, "f", a_, "g", RENAME_NOREPLACE), EEXIST);
  EXPECT_EQ(rename(a_, "f", a_, "h", RENAME_NOREPLACE), 0);
  EXPECT_EQ(ino(a_, "h"), file);
}

TEST_F(RenameTest, ExchangeSwapsAnyTwo) {
  const uint64_t file = fs_.make("f", a_);
  const uint64_t dir = fs_.make_dir("d", b_);
  fs_.make("inside", dir);
  fs_.set_time(200);
  EXPECT_EQ(rename(a_, "f", b_, "d", RENAME_EXCHANGE), 0);
  EXPECT_EQ(ino(a_, "f"), dir);
  EXPECT_EQ(ino(b_, "d"), file);
  EXPECT_EQ(fs_.attr(a_).nlink, 3u);
  EXPECT_EQ(fs_.attr(b_).nlink, 2u);
  EXPECT_EQ(must(fs_->lookup(dir, "..")).ino, a_);
  for (const uint64_t stamped : {file, dir, a_, b_}) {
    EXPECT_EQ(fs_.attr(stamped).ctime.tv_sec, 200);
  }
  EXPECT_EQ(rename(a_, "f", a_, "none", RENAME_EXCHANGE), ENOENT);
  EXPECT_EQ(rename(a_, "f", a_, "f", RENAME_EXCHANGE), 0);
}

TEST_F(RenameTest, ExchangeMakesNoLoops) {
  const uint64_t sub = fs_.make_dir("s", a_);
  const uint64_t deep = fs_.make_dir("t", sub);
  EXPECT_EQ(rename(fs_.root(), "a", sub, "t", RENAME_EXCHANGE), EINVAL);
  EXPECT_EQ(rename(sub, "t", fs_.root(), "a", RENAME_EXCHANGE), EINVAL);
  EXPECT_EQ(must(fs_->lookup(deep, "..")).ino, sub);
}

}  // namespace
}  // namespace pmemd
