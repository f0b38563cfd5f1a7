#include "core/filesystem/check.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <string>

#include "core/base/units.h"
#include "core/filesystem/filesystem.h"
#include "core/pool/info_block.h"
#include "core/pool/schema.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

// A pool with a namespace that holds a file, a link to it, a directory with a symbolic link in it,
// an orphan, and an extended attribute.
class CheckFilesystem : public testing::Test {
 protected:
  CheckFilesystem() {
    pool_ = must(Pool::create(directory_.path() + "/pool", 32 * kMiB, Reservation::kSparse));
    record_ = pool_->namespaces().front();
    must(FileSystem::format(pool_->database(), record_.serial, record_.data_bytes(), {}));
    media_ = std::make_unique<NamespaceMedia>(must(pool_->map_namespace(record_)),
                                              *pool_->media_errors(record_.region), record_);
    fill();
  }

  void fill() {
    FileSystem::Options options;
    options.serial = record_.serial;

    const auto fs = must(FileSystem::mount(pool_->database(), *media_, srcu_, lookups_, options));
    const uint64_t root = fs->root();
    file_ = must(fs->mknod(root, "file", S_IFREG | 0644, 0, {})).ino;
    const std::string bytes(10000, 'x');
    must(fs->write(file_, 5000, std::as_bytes(std::span(bytes))));
    must(fs->fallocate(file_, FALLOC_FL_KEEP_SIZE, 1 * kMiB, 4096));
    must(fs->link(file_, root, "link"));
    dir_ = must(fs->mkdir(root, "dir", 0755, {})).ino;
    must(fs->symlink(dir_, "symlink", "target", {}));
    must(fs->xattrs().set(file_, "user.a", "b", 0, false));
    const uint64_t orphan = must(fs->tmpfile(root, 0600, {})).ino;
    must(fs->write(orphan, 0, std::as_bytes(std::span(bytes))));
    must(fs->flush_times());
  }

  std::vector<Finding> check() {
    return must(check_filesystem(*must(PoolView::open(*pool_)), record_));
  }

  // What the check says once `sql` has been done to the tables.
  std::vector<Finding> after(const std::string& sql) {
    {
      MutexLock lock(pool_->database().mutex());
      must(pool_->database().execute(
          fmt::format(fmt::runtime(sql), fmt::arg("file", file_), fmt::arg("dir", dir_),
                      fmt::arg("root", make_inode_number(record_.serial, 1)))));
    }
    return check();
  }

  static auto says(const std::string& words) {
    return Contains(Field(&Finding::problem, HasSubstr(words)));
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Pool> pool_;
  NamespaceRecord record_;
  Srcu srcu_;
  LookupCounts lookups_;
  std::unique_ptr<NamespaceMedia> media_;
  uint64_t file_ = 0;
  uint64_t dir_ = 0;
};

TEST_F(CheckFilesystem, FindsNothingInASoundOne) { EXPECT_THAT(check(), IsEmpty()); }

TEST_F(CheckFilesystem, FindsNothingInAnEmptyOne) {
  EXPECT_THAT(after("DELETE FROM dirents; DELETE FROM extents; DELETE FROM xattrs;"
                    "DELETE FROM inodes WHERE ino != {root};"
                    "UPDATE inodes SET size = 0, nlink = 2"),
              testing::Each(Field(&Finding::problem, HasSubstr("zeros"))));
}

TEST_F(CheckFilesystem, NamesTheInode) {
  EXPECT_THAT(after("UPDATE inodes SET nlink = 3 WHERE ino = {file}"),
              testing::ElementsAre(
                  AllOf(Field(&Finding::object, fmt::format("namespace0.0 inode {}", file_)),
                        Field(&Finding::problem, "has 3 links, but 2 entries"))));
}

TEST_F(CheckFilesystem, MissesTheRoot) {
  EXPECT_THAT(after("DELETE FROM inodes WHERE ino = {root}"), says("no root directory"));
}

TEST_F(CheckFilesystem, FindsUnknownTypes) {
  EXPECT_THAT(after("UPDATE inodes SET mode = 420 WHERE ino = {file}"), says("unknown type"));
}

TEST_F(CheckFilesystem, FindsNumbersThatMayBeGivenAgain) {
  EXPECT_THAT(after("UPDATE namespaces SET next_index = 2"), says("may be given again"));
}

TEST_F(CheckFilesystem, FindsEntriesThatLeadNowhere) {
  EXPECT_THAT(after("DELETE FROM inodes WHERE ino = {file}"), says("which doesn't exist"));
}

TEST_F(CheckFilesystem, FindsEntriesInNoDirectory) {
  EXPECT_THAT(after("UPDATE dirents SET parent = {file} WHERE parent = {dir}"),
              says("in what is no directory"));
}

TEST_F(CheckFilesystem, FindsEntriesOfAnotherType) {
  EXPECT_THAT(after("UPDATE dirents SET type = 10 WHERE ino = {file}"), says("of another type"));
}

TEST_F(CheckFilesystem, FindsImpossibleNamesAndShowsThemAsText) {
  EXPECT_THAT(after("UPDATE dirents SET name = x'2fff' WHERE parent = {dir}"),
              says("entry \"/\\xff\" has an impossible name"));
  EXPECT_THAT(after("UPDATE dirents SET name = x'2e2e' WHERE parent = {dir}"),
              says("impossible name"));
}

TEST_F(CheckFilesystem, FindsLostInodes) {
  EXPECT_THAT(after("DELETE FROM dirents WHERE parent = {dir}"),
              says("has 1 links, but 0 entries"));
}

TEST_F(CheckFilesystem, FindsWrongCountsOfDirectories) {
  EXPECT_THAT(after("UPDATE inodes SET size = 2 WHERE ino = {dir}"),
              says("directory of 2 entries and 2 links, but has 1 entries, 0 of them directories"));
  EXPECT_THAT(after("UPDATE inodes SET nlink = 4 WHERE ino = {root}"), says("and 4 links"));
}

TEST_F(CheckFilesystem, FindsDirectoriesInTwoPlaces) {
  EXPECT_THAT(after("INSERT INTO dirents (parent, name, ino, type)"
                    " VALUES ({dir}, x'41', {dir}, 4)"),
              AllOf(says("links, but 2 entries"), says("but its \"..\" is")));
}

TEST_F(CheckFilesystem, FindsCycles) {
  EXPECT_THAT(after("UPDATE dirents SET parent = {dir} WHERE ino = {dir};"
                    "UPDATE inodes SET parent = {dir} WHERE ino = {dir}"),
              says("no way leads"));
}

TEST_F(CheckFilesystem, FindsExtentsOfNoFile) {
  EXPECT_THAT(after("UPDATE extents SET ino = {dir} WHERE ino = {file}"), says("no regular file"));
}

TEST_F(CheckFilesystem, FindsExtentsThatAreNotBlocksOfTheArea) {
  EXPECT_THAT(after("UPDATE extents SET data_offset = data_offset + 1 WHERE ino = {file}"),
              says("not whole blocks of the data area"));
  EXPECT_THAT(after("UPDATE extents SET data_offset = 1 << 40 WHERE ino = {file}"),
              says("not whole blocks of the data area"));
}

TEST_F(CheckFilesystem, FindsOverlapsInTheFile) {
  EXPECT_THAT(after("UPDATE extents SET length = 2097152 WHERE ino = {file}"),
              says("overlaps the one before it"));
}

TEST_F(CheckFilesystem, FindsOverlapsInTheDataArea) {
  EXPECT_THAT(after("INSERT INTO extents SELECT ino, 1 << 30, data_offset, length FROM extents"
                    " WHERE ino = {file} LIMIT 1"),
              says("is also another extent's"));
}

TEST_F(CheckFilesystem, FindsXattrsOfNoInode) {
  EXPECT_THAT(after("UPDATE xattrs SET ino = ino + 500"), says("of what is no inode"));
}

TEST_F(CheckFilesystem, FindsBytesInFreeSpaceOfACleanOneOnly) {
  const std::string junk = "junk";
  must(media_->image().write(20 * kMiB, std::as_bytes(std::span(junk))));
  EXPECT_THAT(check(), says("doesn't read as zeros"));
  must(pool_->set_clean(record_.serial, false));
  EXPECT_THAT(check(), IsEmpty());
}

TEST_F(CheckFilesystem, FindsExtentsThatAreNotThoseOfTheLastDisable) {
  {
    FileSystem::Options options;
    options.serial = record_.serial;
    const auto fs = must(FileSystem::mount(pool_->database(), *media_, srcu_, lookups_, options));
    must(pool_->set_clean(record_.serial, true, must(fs->extents_checksum())));
  }
  EXPECT_THAT(check(), IsEmpty());
  // The one that was allocated and not written, so that no byte of free space shows it.
  EXPECT_THAT(after("DELETE FROM extents WHERE ino = {file} AND file_offset >= 1 << 20"),
              says("not those of its last disable"));
  must(pool_->set_clean(record_.serial, false));
  EXPECT_THAT(check(), IsEmpty()) << "in use: not known";
}

// It is one finding among others, not the end of the check.
TEST_F(CheckFilesystem, FindsAnInfoBlockThatIsPoisoned) {
  const auto block = RegionRange::sized(record_.range.begin + kInfoBlockOffset, kInfoBlockSize);
  must(pool_->media_errors(record_.region)->inject({block}, {block}));
  const auto found = check_pool(*pool_);
  ASSERT_TRUE(found) << found.error().describe();
  EXPECT_THAT(*found, says("its info block is poisoned"));
}

TEST_F(CheckFilesystem, FindsNothingInADevdax) {
  record_.mode = NamespaceMode::kDevDax;
  EXPECT_THAT(after("UPDATE inodes SET nlink = 3 WHERE ino = {file}"), IsEmpty());
}

TEST_F(CheckFilesystem, TellsTheFirstHundredOfAKind) {
  EXPECT_EQ(after("WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 400)"
                  " INSERT INTO xattrs SELECT {file} + i, 'user.x', x'' FROM n")
                .size(),
            100u);
}

}  // namespace
}  // namespace pmemd
