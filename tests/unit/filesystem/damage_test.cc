// Rows that no file system of ours has: a mount refuses them, or who meets them gets an error, and
// no loop over them is without an end.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/filesystem/filesystem.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

class Damage : public testing::Test {
 protected:
  Damage() {
    file_ = fs_.make("file");
    must(fs_.write(file_, 0, std::string(10'000, 'x')));
    dir_ = fs_.make_dir("dir");
    sub_ = fs_.make_dir("sub", dir_);
  }
  void sql(const std::string& text) {
    MutexLock lock(fs_.db().mutex());
    must(fs_.db().execute(fmt::format(fmt::runtime(text), fmt::arg("file", file_),
                                      fmt::arg("dir", dir_), fmt::arg("sub", sub_),
                                      fmt::arg("root", fs_.root()))));
  }
  // As a mount finds it.
  Error refused(const std::string& text) {
    sql(text);
    const auto mounted = fs_.try_mount(true);
    EXPECT_FALSE(mounted) << text;
    return mounted ? Error{} : mounted.error();
  }
  void expect_refused(const std::string& text, const std::string& words) {
    const Error error = refused(text);
    EXPECT_EQ(error.err(), EIO) << text;
    EXPECT_THAT(error.message, testing::HasSubstr(words));
    EXPECT_THAT(error.hint, testing::HasSubstr("--check"));
  }

  MountedFs fs_;
  uint64_t file_ = 0, dir_ = 0, sub_ = 0;
};

TEST_F(Damage, ExtentsWithAnOffsetThatIsNoneAreRefused) {
  expect_refused("UPDATE extents SET file_offset = -4096", "extents.file_offset is -4096");
  expect_refused("UPDATE extents SET file_offset = 'abc'", "extents.file_offset is the text 'abc'");
  expect_refused("UPDATE extents SET file_offset = 0, length = 1 << 62", "extents.length");
  expect_refused("UPDATE extents SET length = 1 << 32", "beyond the data area");
}

TEST_F(Damage, ExtentsThatOverlapInTheFileAreRefused) {
  expect_refused("INSERT INTO extents SELECT ino, 4096, 1048576, 4096 FROM extents",
                 "overlaps the one before it");
}

TEST_F(Damage, RowsOfNumbersThatAreStillToBeGivenAreRefused) {
  expect_refused("INSERT INTO xattrs VALUES ({file} + 500000, 'security.capability', x'00')",
                 "xattrs of inode");
}

TEST_F(Damage, AFileSystemWithoutItsRootIsRefusedAndGetsNoNewOne) {
  sql("DELETE FROM inodes WHERE ino = {root}");
  EXPECT_EQ(FileSystem::format(fs_.db(), 7, 0, {}).err(), EIO);
  EXPECT_EQ(fs_.try_mount(true).err(), EIO);
}

// Once, the mount removed it, and the file's bytes with it.
TEST_F(Damage, AnInodeWithAnEntryAndNoLinksIsRefusedAndStays) {
  expect_refused("UPDATE inodes SET nlink = 0 WHERE ino = {file}", "no links, but an entry");
  sql("UPDATE inodes SET nlink = 1 WHERE ino = {file}");
  ASSERT_FALSE(fs_.try_mount(true).err());
  EXPECT_EQ(fs_.read(file_, 0, 10'000), std::string(10'000, 'x'));
}

TEST_F(Damage, ValuesThatAreNoneAreErrorsWhereTheyAreMet) {
  sql("UPDATE inodes SET uid = 1 << 40 WHERE ino = {file};"
      "INSERT INTO xattrs VALUES ({dir}, 'user.x', 5)");
  fs_.remount();
  EXPECT_EQ(fs_->lookup(fs_.root(), "file").err(), EIO);
  EXPECT_EQ(fs_->getattr(file_).err(), EIO);
  EXPECT_EQ(fs_->readdirplus(fs_.root(), 0, [](const auto&, const auto&) { return true; }).err(),
            EIO);
  EXPECT_EQ(fs_->xattrs().get(dir_, "user.x").err(), EIO);
  EXPECT_EQ(fs_->getattr(dir_).err(), 0);
}

TEST_F(Damage, AnEntryLeadsOutOfNoFileSystem) {
  sql("UPDATE dirents SET ino = (8 << 40) + 5 WHERE ino = {file};"
      "INSERT INTO inodes SELECT (8 << 40) + 5, mode, uid, gid, nlink, rdev, parent, size, atime,"
      " mtime, ctime, btime, target FROM inodes WHERE ino = {file}");
  fs_.remount();
  EXPECT_EQ(fs_->lookup(fs_.root(), "file").err(), EIO);
  EXPECT_EQ(fs_->readdir(fs_.root(), 0, [](const auto&) { return true; }).err(), EIO);
}

TEST_F(Damage, DirectoriesInARingHaveAnEnd) {
  sql("UPDATE inodes SET parent = {sub} WHERE ino = {dir}");
  fs_.remount();
  fs_.make_dir("other");
  EXPECT_EQ(fs_->rename(fs_.root(), "other", sub_, "there", 0).err(), EIO);
}

TEST_F(Damage, CountsDontGoBelowNothing) {
  sql("UPDATE inodes SET size = 0, nlink = 2 WHERE ino = {dir}");
  fs_.remount();
  EXPECT_EQ(fs_->rmdir(dir_, "sub").err(), EIO);
  EXPECT_EQ(fs_->rename(dir_, "sub", fs_.root(), "sub", 0).err(), EIO);
  EXPECT_EQ(must(fs_->lookup(dir_, "sub")).ino, sub_);
}

TEST_F(Damage, ALinkToNothingIsAnError) {
  const uint64_t link = must(fs_->symlink(fs_.root(), "link", "target", {})).ino;
  sql("UPDATE inodes SET target = NULL WHERE mode >> 12 = 10");
  EXPECT_EQ(fs_->readlink(link).err(), EIO);
}

// Numbers go up to the next file system's; there they end.
TEST_F(Damage, InodeNumbersDontReachTheNextFileSystem) {
  sql("UPDATE namespaces SET next_index = (1 << 40) - 1");
  fs_.remount();
  EXPECT_EQ(fs_->mknod(fs_.root(), "new", S_IFREG | 0644, 0, {}).err(), ENOSPC);
}

// What an index says is held against the row: here dirents' two have changed places, so that each
// name leads to another row than it should.
TEST_F(Damage, AnIndexThatLeadsToAnotherRowIsAnError) {
  fs_.make("a");
  fs_.make("b");
  sql("CREATE TABLE shifted (cookie INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name BLOB NOT"
      " NULL, UNIQUE (parent, name));"
      "INSERT INTO shifted SELECT (cookie - 1 + 4) % 5 + 1, parent, name FROM dirents;"
      "PRAGMA writable_schema = ON;"
      "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name ="
      " 'sqlite_autoindex_shifted_1') WHERE name = 'sqlite_autoindex_dirents_1';"
      "PRAGMA writable_schema = RESET");
  fs_.remount();
  for (const char* const name : {"file", "a", "b"}) {
    EXPECT_EQ(fs_->lookup(fs_.root(), name).err(), EIO) << name;
  }
}

TEST_F(Damage, BehindTheLastNumberOfAnEntryThereIsNoRoom) {
  sql("UPDATE dirents SET cookie = 4611686018427387904 WHERE ino = {file}");
  EXPECT_EQ(fs_->mknod(fs_.root(), "new", S_IFREG | 0644, 0, {}).err(), ENOSPC);
  EXPECT_EQ(fs_->lookup(fs_.root(), "new").err(), ENOENT);
}

}  // namespace
}  // namespace pmemd
