// mknod, mkdir, symlink, tmpfile, lookup, link, unlink, rmdir, readlink, readdir.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fs.h>

#include <map>
#include <set>
#include <string>
#include <tuple>

#include "core/filesystem/filesystem.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

using testing::ElementsAre;

const std::string kLongest(255, 'n');
const std::string kTooLong(256, 'n');

void expect_stamped(const Attr& attr, int64_t seconds) {
  EXPECT_EQ(attr.mtime.tv_sec, seconds);
  EXPECT_EQ(attr.ctime.tv_sec, seconds);
}

auto fields(const Attr& attr) {
  return std::tuple(attr.ino, attr.mode, attr.nlink, attr.uid, attr.gid, attr.rdev, attr.size,
                    attr.blocks, attr.atime.tv_sec, attr.mtime.tv_sec, attr.ctime.tv_sec,
                    attr.btime.tv_sec);
}

TEST(Create, MakesAnInodeAsAskedFor) {
  MountedFs fs;
  fs.set_time(5000, 123);
  const Attr made = must(fs->mknod(fs.root(), "f", S_IFREG | 0666, 0, {10, 20, 022}));
  EXPECT_EQ(made.mode, S_IFREG | 0644u);
  EXPECT_EQ(made.nlink, 1u);
  EXPECT_EQ(made.uid, 10u);
  EXPECT_EQ(made.gid, 20u);
  EXPECT_EQ(made.size, 0u);
  EXPECT_EQ(made.blocks, 0u);
  for (const timespec& time : {made.atime, made.mtime, made.ctime, made.btime}) {
    EXPECT_EQ(time.tv_sec, 5000);
    EXPECT_EQ(time.tv_nsec, 123);
  }
  fs.crash();
  const Attr found = must(fs->lookup(fs.root(), "f"));
  EXPECT_EQ(found.ino, made.ino);
  EXPECT_EQ(found.mode, made.mode);
  EXPECT_EQ(found.btime.tv_nsec, 123);
}

TEST(Create, KeepsDevicesAndFifos) {
  MountedFs fs;
  const dev_t device = 0x1234;
  EXPECT_EQ(must(fs->mknod(fs.root(), "c", S_IFCHR | 0600, device, {})).rdev, device);
  EXPECT_EQ(must(fs->mknod(fs.root(), "p", S_IFIFO | 0600, device, {})).rdev, 0u);
  EXPECT_EQ(must(fs->mknod(fs.root(), "r", 0600, 0, {})).mode, S_IFREG | 0600u);
  fs.remount();
  EXPECT_EQ(must(fs->lookup(fs.root(), "c")).rdev, device);
  EXPECT_EQ(fs->mknod(fs.root(), "d", S_IFDIR | 0700, 0, {}).err(), EPERM);
  EXPECT_EQ(fs->mknod(fs.root(), "l", S_IFLNK | 0700, 0, {}).err(), EINVAL);
}

TEST(Create, StampsTheParentAndCounts) {
  MountedFs fs;
  fs.set_time(5000);
  fs.make("f");
  expect_stamped(fs.attr(fs.root()), 5000);
  EXPECT_EQ(fs.attr(fs.root()).nlink, 2u);
  fs.set_time(6000);
  const uint64_t dir = fs.make_dir("d");
  expect_stamped(fs.attr(fs.root()), 6000);
  EXPECT_EQ(fs.attr(fs.root()).nlink, 3u);
  EXPECT_EQ(fs.attr(dir).nlink, 2u);
}

TEST(Create, RefusesBadNamesAndParents) {
  MountedFs fs;
  const uint64_t file = fs.make("f");
  EXPECT_EQ(fs->mknod(fs.root(), "f", S_IFREG, 0, {}).err(), EEXIST);
  EXPECT_EQ(fs->mkdir(fs.root(), "f", 0755, {}).err(), EEXIST);
  EXPECT_EQ(fs->symlink(fs.root(), "f", "x", {}).err(), EEXIST);
  EXPECT_EQ(fs->mkdir(fs.root(), ".", 0755, {}).err(), EEXIST);
  EXPECT_EQ(fs->mkdir(fs.root(), "..", 0755, {}).err(), EEXIST);
  EXPECT_EQ(fs->mkdir(fs.root(), kTooLong, 0755, {}).err(), ENAMETOOLONG);
  EXPECT_EQ(fs->mkdir(fs.root(), "", 0755, {}).err(), ENOENT);
  EXPECT_EQ(fs->mkdir(fs.root(), "a/b", 0755, {}).err(), EINVAL);
  EXPECT_EQ(fs->mkdir(file, "x", 0755, {}).err(), ENOTDIR);
  EXPECT_EQ(fs->tmpfile(file, 0600, {}).err(), ENOTDIR);
  EXPECT_FALSE(fs->mkdir(fs.root(), kLongest, 0755, {}).err());
  EXPECT_FALSE(fs->mkdir(fs.root(), "\xff\xfe\n", 0755, {}).err());
  EXPECT_FALSE(fs->lookup(fs.root(), "\xff\xfe\n").err());
}

TEST(Create, InARemovedDirectoryThereIsNothing) {
  MountedFs fs;
  const uint64_t dir = fs.make_dir("d");
  const uint64_t file = fs.make("f");
  fs.lookups().add(dir);
  must(fs->rmdir(fs.root(), "d"));
  EXPECT_EQ(fs.attr(dir).nlink, 0u);
  EXPECT_EQ(fs->mknod(dir, "x", S_IFREG, 0, {}).err(), ENOENT);
  EXPECT_EQ(fs->link(file, dir, "x").err(), ENOENT);
  EXPECT_EQ(fs->rename(fs.root(), "f", dir, "x", 0).err(), ENOENT);
  EXPECT_EQ(fs->lookup(dir, "x").err(), ENOENT);
}

TEST(Create, ASetgidDirectoryGivesItsGroup) {
  MountedFs fs;
  const uint64_t dir = must(fs->mkdir(fs.root(), "d", S_ISGID | 0777, {1, 77, 0})).ino;
  const Attr file = must(fs->mknod(dir, "f", S_IFREG | 0644, 0, {5, 6, 0}));
  EXPECT_EQ(file.gid, 77u);
  EXPECT_EQ(file.mode, S_IFREG | 0644u);
  const Attr sub = must(fs->mkdir(dir, "s", 0755, {5, 6, 0}));
  EXPECT_EQ(sub.gid, 77u);
  EXPECT_EQ(sub.mode, S_IFDIR | S_ISGID | 0755u);
  EXPECT_EQ(must(fs->symlink(dir, "l", "x", {5, 6, 0})).gid, 77u);
}

TEST(Create, ALinkCountHasALimit) {
  MountedFs fs;
  const uint64_t ino = fs.make("f");
  {
    MutexLock lock(fs.db().mutex());
    must(fs.db().execute("UPDATE inodes SET nlink = 64999"));
  }
  fs.remount();
  EXPECT_EQ(must(fs->link(ino, fs.root(), "g")).nlink, 65000u);
  EXPECT_EQ(fs->link(ino, fs.root(), "h").err(), EMLINK);
  EXPECT_EQ(fs->lookup(fs.root(), "h").err(), ENOENT);
  fs.make_dir("d");
  EXPECT_EQ(fs.attr(fs.root()).nlink, 65000u);
  EXPECT_EQ(fs->mkdir(fs.root(), "e", 0755, {}).err(), EMLINK);
  EXPECT_EQ(fs->mkdir(fs.root(), "d", 0755, {}).err(), EEXIST);
  const uint64_t dir = must(fs->lookup(fs.root(), "d")).ino;
  fs.make_dir("sub", dir);
  EXPECT_EQ(fs->rename(dir, "sub", fs.root(), "sub", 0).err(), EMLINK);
  EXPECT_EQ(fs->rename(dir, "sub", fs.root(), "f", RENAME_EXCHANGE).err(), EMLINK);
}

TEST(Symlink, KeepsItsTarget) {
  MountedFs fs;
  const std::string target = "../somewhere/\xff";
  const Attr made = must(fs->symlink(fs.root(), "l", target, {1, 2, 077}));
  EXPECT_EQ(made.mode, S_IFLNK | 0777u);
  EXPECT_EQ(made.size, target.size());
  EXPECT_EQ(must(fs->readlink(made.ino)), target);
  fs.crash();
  EXPECT_EQ(must(fs->readlink(made.ino)), target);
  EXPECT_FALSE(fs->symlink(fs.root(), "max", std::string(4095, 't'), {}).err());
  EXPECT_EQ(fs->symlink(fs.root(), "x", std::string(4096, 't'), {}).err(), ENAMETOOLONG);
  EXPECT_EQ(fs->symlink(fs.root(), "x", "", {}).err(), ENOENT);
  EXPECT_EQ(fs->readlink(fs.root()).err(), EINVAL);
}

TEST(Tmpfile, HasNoNameUntilItIsLinked) {
  MountedFs fs;
  const Attr made = must(fs->tmpfile(fs.root(), 0640, {3, 4, 022}));
  EXPECT_EQ(made.mode, S_IFREG | 0640u);
  EXPECT_EQ(made.nlink, 0u);
  fs.lookups().add(made.ino);
  EXPECT_THAT(fs.names(fs.root()), ElementsAre(".", ".."));
  ASSERT_FALSE(fs.write(made.ino, 0, "data").err());
  EXPECT_EQ(must(fs->link(made.ino, fs.root(), "named")).nlink, 1u);
  fs.lookups().drop(made.ino, 1);
  fs->forget(made.ino);
  fs.crash();
  EXPECT_EQ(fs.read(must(fs->lookup(fs.root(), "named")).ino, 0, 4), "data");
}

TEST(Tmpfile, GoesWhenItIsForgotten) {
  MountedFs fs;
  const uint64_t ino = must(fs->tmpfile(fs.root(), 0600, {})).ino;
  fs->forget(ino);
  EXPECT_EQ(fs->getattr(ino).err(), ESTALE);
}

TEST(Lookup, KnowsDotAndDotDot) {
  MountedFs fs;
  const uint64_t dir = fs.make_dir("d");
  const uint64_t file = fs.make("f", dir);
  EXPECT_EQ(must(fs->lookup(dir, ".")).ino, dir);
  EXPECT_EQ(must(fs->lookup(dir, "..")).ino, fs.root());
  EXPECT_EQ(must(fs->lookup(file, ".")).ino, file);
  EXPECT_EQ(fs->lookup(file, "..").err(), ENOTDIR);
  EXPECT_EQ(fs->lookup(file, "x").err(), ENOTDIR);
  EXPECT_EQ(fs->lookup(dir, "x").err(), ENOENT);
  EXPECT_EQ(fs->lookup(dir, kTooLong).err(), ENAMETOOLONG);
}

TEST(Link, IsAnotherNameOfTheSameInode) {
  MountedFs fs;
  const uint64_t dir = fs.make_dir("d");
  const uint64_t ino = fs.make("f");
  fs.set_time(7000);
  const Attr linked = must(fs->link(ino, dir, "g"));
  EXPECT_EQ(linked.nlink, 2u);
  EXPECT_EQ(linked.ctime.tv_sec, 7000);
  EXPECT_NE(linked.mtime.tv_sec, 7000);
  expect_stamped(fs.attr(dir), 7000);
  EXPECT_EQ(must(fs->lookup(dir, "g")).ino, ino);
  EXPECT_EQ(fs->link(ino, dir, "g").err(), EEXIST);
  EXPECT_EQ(fs->link(dir, fs.root(), "x").err(), EPERM);
  EXPECT_EQ(fs->link(ino, ino, "x").err(), ENOTDIR);
  EXPECT_EQ(fs->link(ino, dir, kTooLong).err(), ENAMETOOLONG);
}

TEST(Unlink, TakesOneNameAway) {
  MountedFs fs;
  const uint64_t ino = fs.make("f");
  must(fs->link(ino, fs.root(), "g"));
  fs.set_time(8000);
  must(fs->unlink(fs.root(), "f"));
  expect_stamped(fs.attr(fs.root()), 8000);
  EXPECT_EQ(fs.attr(ino).nlink, 1u);
  EXPECT_EQ(fs.attr(ino).ctime.tv_sec, 8000);
  EXPECT_NE(fs.attr(ino).mtime.tv_sec, 8000);
  must(fs->unlink(fs.root(), "g"));
  EXPECT_EQ(fs->getattr(ino).err(), ESTALE);
}

TEST(Unlink, RefusesDirectoriesAndWhatIsNotThere) {
  MountedFs fs;
  const uint64_t file = fs.make("f");
  fs.make_dir("d");
  EXPECT_EQ(fs->unlink(fs.root(), "d").err(), EISDIR);
  EXPECT_EQ(fs->unlink(fs.root(), ".").err(), EISDIR);
  EXPECT_EQ(fs->unlink(fs.root(), "x").err(), ENOENT);
  EXPECT_EQ(fs->unlink(file, "x").err(), ENOTDIR);
  EXPECT_EQ(fs->unlink(fs.root(), kTooLong).err(), ENAMETOOLONG);
}

TEST(Rmdir, TakesAnEmptyDirectoryAway) {
  MountedFs fs;
  const uint64_t dir = fs.make_dir("d");
  fs.set_time(8000);
  must(fs->rmdir(fs.root(), "d"));
  expect_stamped(fs.attr(fs.root()), 8000);
  EXPECT_EQ(fs.attr(fs.root()).nlink, 2u);
  EXPECT_EQ(fs->getattr(dir).err(), ESTALE);
}

TEST(Rmdir, RefusesFullOnesAndWhatIsNone) {
  MountedFs fs;
  const uint64_t dir = fs.make_dir("d");
  const uint64_t file = fs.make("f", dir);
  EXPECT_EQ(fs->rmdir(fs.root(), "d").err(), ENOTEMPTY);
  EXPECT_EQ(fs->rmdir(dir, "f").err(), ENOTDIR);
  EXPECT_EQ(fs->rmdir(file, "f").err(), ENOTDIR);
  EXPECT_EQ(fs->rmdir(fs.root(), "x").err(), ENOENT);
  EXPECT_EQ(fs->rmdir(dir, ".").err(), EINVAL);
  EXPECT_EQ(fs->rmdir(dir, "..").err(), ENOTEMPTY);
  EXPECT_EQ(fs->rmdir(fs.root(), kTooLong).err(), ENAMETOOLONG);
}

TEST(Readdir, GivesTypesAndInodeNumbers) {
  MountedFs fs;
  const uint64_t dir = fs.make_dir("d");
  const uint64_t file = fs.make("f", dir);
  const uint64_t link = must(fs->symlink(dir, "l", "x", {})).ino;
  std::vector<std::tuple<std::string, uint64_t, mode_t>> found;
  must(fs->readdir(dir, 0, [&](const DirEntry& entry) {
    found.emplace_back(entry.name, entry.ino, entry.type);
    return true;
  }));
  EXPECT_THAT(found,
              ElementsAre(std::tuple(".", dir, S_IFDIR), std::tuple("..", fs.root(), S_IFDIR),
                          std::tuple("f", file, S_IFREG), std::tuple("l", link, S_IFLNK)));
  EXPECT_EQ(fs->readdir(file, 0, [](const DirEntry&) { return true; }).err(), ENOTDIR);
}

TEST(Readdir, GoesOnBehindAnyCookieWhateverComesAndGoes) {
  MountedFs fs;
  std::set<std::string> stays;
  for (int i = 0; i < 1000; ++i) {
    fs.make(std::to_string(i));
    if (i % 3 != 0) stays.insert(std::to_string(i));
  }
  std::multiset<std::string> seen;
  uint64_t cookie = 0;
  for (int round = 0;; ++round) {
    int left = 1 + round % 7;  // entries this call has room for
    bool any = false;
    must(fs->readdir(fs.root(), cookie, [&](const DirEntry& entry) {
      if (left-- == 0) return false;
      seen.insert(entry.name);
      cookie = entry.next_cookie;
      any = true;
      return true;
    }));
    if (!any) break;
    if (round * 3 < 1000) {
      must(fs->unlink(fs.root(), std::to_string(round * 3)));
      fs.make("new" + std::to_string(round));
    }
  }
  for (const std::string& name : stays) EXPECT_EQ(seen.count(name), 1u) << name;
  EXPECT_EQ(seen.count("."), 1u);
  EXPECT_EQ(seen.count(".."), 1u);
}

TEST(Readdir, AnEntryRenamedMeanwhileIsSeenOnce) {
  MountedFs fs;
  fs.make("a");
  fs.make("b");
  std::multiset<std::string> seen;
  uint64_t cookie = 0;
  must(fs->readdir(fs.root(), 0, [&](const DirEntry& entry) {
    seen.insert(entry.name);
    cookie = entry.next_cookie;
    return entry.name != "a";
  }));
  must(fs->rename(fs.root(), "a", fs.root(), "c", 0));
  must(fs->readdir(fs.root(), cookie, [&](const DirEntry& entry) {
    seen.insert(entry.name);
    return true;
  }));
  EXPECT_THAT(seen, ElementsAre(".", "..", "a", "b"));
}

// As lookup() tells, whether memory has the inode or only the table; in several calls.
TEST(Readdirplus, TellsWhatLookupTells) {
  MountedFs fs;
  const uint64_t dir = fs.make_dir("d");
  fs.make_dir("sub", dir);
  must(fs->symlink(dir, "l", "target", {}));
  must(fs->mknod(dir, "fifo", S_IFIFO | 0600, 0, {.uid = 3, .gid = 4}));
  for (int i = 0; i < 200; ++i) {
    const uint64_t ino = fs.make(std::to_string(i), dir, S_IFREG | 0640);
    if (i % 3 == 0) must(fs.write(ino, 8192, "x"));
  }
  for (const bool is_cached : {true, false}) {
    if (!is_cached) fs.remount();
    std::map<std::string, uint64_t> told;
    uint64_t cookie = 0;
    for (bool is_done = false; !is_done;) {
      int left = 77;
      is_done = true;
      must(fs->readdirplus(dir, cookie, [&](const DirEntry& entry, const Attr& attr) {
        is_done = left-- > 0;
        if (!is_done) return false;
        cookie = entry.next_cookie;
        EXPECT_TRUE(told.emplace(entry.name, attr.ino).second) << entry.name;
        if (attr.ino == 0) return true;
        const Attr found = must(fs->lookup(dir, entry.name));
        EXPECT_EQ(fields(attr), fields(found)) << entry.name;
        EXPECT_EQ(entry.ino, attr.ino);
        EXPECT_EQ(entry.type, attr.mode & S_IFMT);
        return true;
      }));
    }
    EXPECT_EQ(told.size(), 205u);
    EXPECT_EQ(told.at("."), 0u);
    EXPECT_EQ(told.at(".."), 0u);
  }
  const uint64_t file = fs.make("f");
  const auto take = [](const DirEntry&, const Attr&) { return true; };
  EXPECT_EQ(fs->readdirplus(file, 0, take).err(), ENOTDIR);
  EXPECT_EQ(fs->readdirplus(file + 100, 0, take).err(), ESTALE);
}

// A time that memory alone has.
TEST(Readdirplus, TellsTheTimesThatAreNotWrittenYet) {
  MountedFs fs;
  const uint64_t ino = fs.make("a");
  must(fs.write(ino, 0, "aaaa"));
  fs.set_time(2'000'000);
  must(fs.write(ino, 0, "bbbb"));
  must(fs->readdirplus(fs.root(), 0, [&](const DirEntry&, const Attr& attr) {
    EXPECT_TRUE(attr.ino != ino || attr.mtime.tv_sec == 2'000'000);
    return true;
  }));
}

TEST(Readdir, StampsAtimeRelatively) {
  MountedFs fs;
  fs.set_time(9000);
  const uint64_t dir = fs.make_dir("d");
  fs.set_time(9100);
  fs.names(dir);
  EXPECT_EQ(fs.attr(dir).atime.tv_sec, 9100);
  fs.set_time(9200);
  fs.names(dir);
  EXPECT_EQ(fs.attr(dir).atime.tv_sec, 9100);
}

}  // namespace
}  // namespace pmemd
