// Names that move and names that are added, over the wire: RENAME, RENAME2, LINK.
#include <linux/fs.h>

#include <string>

#include "tests/unit/daemon/fuse/session.h"

namespace pmemd::test {
namespace {

constexpr uint64_t kDay = 24 * 3600;

class FuseRename : public FuseSession {
 protected:
  FuseRename() { serve(); }

  uint64_t make_directory(uint64_t parent, std::string_view name) {
    fuse_mkdir_in in = {};
    in.mode = 0755;
    return kernel_.call(FUSE_MKDIR, parent, bytes(in) + name_bytes(name))
        .as<fuse_entry_out>()
        .nodeid;
  }
  int rename(uint64_t parent, std::string_view name, uint64_t new_parent,
             std::string_view new_name) {
    const FakeReply reply =
        kernel_.call(FUSE_RENAME, parent,
                     bytes(fuse_rename_in{new_parent}) + name_bytes(name) + name_bytes(new_name));
    EXPECT_EQ(reply.body, "");
    return reply.err;
  }
  int rename(std::string_view name, std::string_view new_name) {
    return rename(root(), name, root(), new_name);
  }
  int rename2(std::string_view name, std::string_view new_name, uint32_t flags,
              uint64_t new_parent = 0) {
    const fuse_rename2_in in = {
        .newdir = new_parent != 0 ? new_parent : root(), .flags = flags, .padding = 0};
    const FakeReply reply =
        kernel_.call(FUSE_RENAME2, root(), bytes(in) + name_bytes(name) + name_bytes(new_name));
    EXPECT_EQ(reply.body, "");
    return reply.err;
  }
  FakeReply link(uint64_t ino, uint64_t parent, std::string_view name) {
    return kernel_.call(FUSE_LINK, parent, bytes(fuse_link_in{ino}) + name_bytes(name));
  }
  // The inode that has this name; 0: none. Counts no lookup.
  uint64_t inode(uint64_t parent, std::string_view name) {
    const uint64_t ino = lookup(parent, name).as<fuse_entry_out>().nodeid;
    if (ino != 0) forget(ino, 1);
    return ino;
  }
  uint64_t inode(std::string_view name) { return inode(root(), name); }
  fuse_attr attr(uint64_t ino) {
    return kernel_.call(FUSE_GETATTR, ino, bytes(fuse_getattr_in{})).as<fuse_attr_out>().attr;
  }
};

// --- RENAME, RENAME2 without flags

TEST_F(FuseRename, NameMoves) {
  const uint64_t ino = make_file("old", "bytes");
  EXPECT_EQ(rename("old", "new"), 0);
  EXPECT_EQ(inode("old"), 0U);
  EXPECT_EQ(inode("new"), ino);
  EXPECT_EQ(rename2("new", "newer", 0), 0);
  EXPECT_EQ(inode("new"), 0U);
  EXPECT_EQ(inode("newer"), ino);
  EXPECT_EQ(read(ino, 0, 9).body, "bytes");
  EXPECT_TRUE(fsdax().lookups().counts().is_known(ino));
}

TEST_F(FuseRename, DirectoryMovesWithItsParent) {
  const uint64_t from = make_directory(root(), "from");
  const uint64_t to = make_directory(root(), "to");
  const uint64_t dir = make_directory(from, "dir");
  EXPECT_EQ(rename(from, "dir", to, "moved"), 0);
  EXPECT_EQ(inode(from, "dir"), 0U);
  EXPECT_EQ(inode(to, "moved"), dir);
  EXPECT_EQ(inode(dir, ".."), to);
  EXPECT_EQ(attr(from).nlink, 2U);
  EXPECT_EQ(attr(to).nlink, 3U);
}

// It has no name any more, but somebody has it open.
TEST_F(FuseRename, ReplacedFileStaysUntilItIsForgotten) {
  const uint64_t ino = make_file("file", "new");
  const uint64_t victim = make_file("victim", "old");
  EXPECT_EQ(rename("file", "victim"), 0);
  EXPECT_EQ(inode("victim"), ino);
  EXPECT_EQ(attr(victim).nlink, 0U);
  EXPECT_EQ(read(victim, 0, 9).body, "old");
  forget(victim, 1);
  EXPECT_EQ(kernel_.call(FUSE_GETATTR, victim, bytes(fuse_getattr_in{})).err, ESTALE);
}

TEST_F(FuseRename, WhatCannotBeReplacedStays) {
  const uint64_t file = make_file("file");
  const uint64_t dir = make_directory(root(), "dir");
  const uint64_t full = make_directory(root(), "full");
  make_directory(full, "below");
  EXPECT_EQ(rename("file", "dir"), EISDIR);
  EXPECT_EQ(rename("dir", "file"), ENOTDIR);
  EXPECT_EQ(rename("dir", "full"), ENOTEMPTY);
  EXPECT_EQ(rename(root(), "full", full, "loop"), EINVAL);
  EXPECT_EQ(rename("nothing", "file"), ENOENT);
  EXPECT_EQ(rename(".", "other"), EBUSY);
  EXPECT_EQ(rename("file", std::string(256, 'n')), ENAMETOOLONG);
  EXPECT_EQ(rename(file, "name", root(), "other"), ENOTDIR);
  EXPECT_EQ(rename(root(), "file", file, "other"), ENOTDIR);
  EXPECT_EQ(inode("file"), file);
  EXPECT_EQ(inode("dir"), dir);
  EXPECT_EQ(inode("full"), full);
}

TEST_F(FuseRename, NothingMovesBetweenDevicesOrInTheRoot) {
  const uint64_t ino = make_file("file");
  EXPECT_EQ(rename(root(), "file", devdax().root_ino(), "file"), EXDEV);
  EXPECT_EQ(rename(root(), "file", FUSE_ROOT_ID, "file"), EXDEV);
  EXPECT_EQ(rename(FUSE_ROOT_ID, "pmem0", root(), "file"), EXDEV);
  EXPECT_EQ(rename(FUSE_ROOT_ID, "pmem0", FUSE_ROOT_ID, "pmem7"), EPERM);
  EXPECT_EQ(rename(devdax().root_ino(), "a", devdax().root_ino(), "b"), EOPNOTSUPP);
  EXPECT_EQ(rename(make_inode_number(77, 5), "a", make_inode_number(77, 5), "b"), ESTALE);
  EXPECT_EQ(inode("file"), ino);
  must(fsdax().kill(false));
  EXPECT_EQ(rename("file", "other"), EIO);
}

// --- RENAME2's flags

TEST_F(FuseRename, NoreplaceTakesOnlyAFreeName) {
  const uint64_t ino = make_file("file");
  const uint64_t other = make_file("other");
  EXPECT_EQ(rename2("file", "other", RENAME_NOREPLACE), EEXIST);
  EXPECT_EQ(rename2("file", "file", RENAME_NOREPLACE), EEXIST);
  EXPECT_EQ(rename2("nothing", "free", RENAME_NOREPLACE), ENOENT);
  EXPECT_EQ(inode("file"), ino);
  EXPECT_EQ(inode("other"), other);
  EXPECT_EQ(rename2("file", "free", RENAME_NOREPLACE), 0);
  EXPECT_EQ(inode("file"), 0U);
  EXPECT_EQ(inode("free"), ino);
}

TEST_F(FuseRename, ExchangeSwapsTwoNames) {
  const uint64_t file = make_file("file");
  const uint64_t dir = make_directory(root(), "dir");
  const uint64_t below = make_directory(dir, "below");
  EXPECT_EQ(rename2("file", "dir", RENAME_EXCHANGE), 0);
  EXPECT_EQ(inode("file"), dir);
  EXPECT_EQ(inode("dir"), file);
  EXPECT_EQ(attr(file).nlink, 1U);
  const uint64_t other = make_file("other");
  EXPECT_EQ(rename2("other", "below", RENAME_EXCHANGE, dir), 0);
  EXPECT_EQ(inode("other"), below);
  EXPECT_EQ(inode(dir, "below"), other);
  EXPECT_EQ(inode(below, ".."), root());
  EXPECT_EQ(attr(dir).nlink, 2U);
}

TEST_F(FuseRename, ExchangeWantsBothNames) {
  const uint64_t file = make_file("file");
  EXPECT_EQ(rename2("file", "free", RENAME_EXCHANGE), ENOENT);
  EXPECT_EQ(rename2("free", "file", RENAME_EXCHANGE), ENOENT);
  const uint64_t dir = make_directory(root(), "dir");
  make_directory(dir, "below");
  EXPECT_EQ(rename2("dir", "below", RENAME_EXCHANGE, dir), EINVAL);
  EXPECT_EQ(rename2("file", "file", RENAME_EXCHANGE), 0);
  EXPECT_EQ(inode("file"), file);
  EXPECT_EQ(inode("dir"), dir);
}

TEST_F(FuseRename, OtherFlagsAreRefused) {
  const uint64_t ino = make_file("file");
  for (const uint32_t flags :
       {uint32_t{RENAME_WHITEOUT}, uint32_t{RENAME_NOREPLACE | RENAME_EXCHANGE},
        uint32_t{RENAME_WHITEOUT | RENAME_NOREPLACE}, 8U, 1U << 31, UINT32_MAX}) {
    EXPECT_EQ(rename2("file", "other", flags), EINVAL) << flags;
  }
  EXPECT_EQ(inode("file"), ino);
  EXPECT_EQ(inode("other"), 0U);
}

// --- LINK

TEST_F(FuseRename, LinkIsAnotherNameAndALookup) {
  const uint64_t ino = make_file("file", "12345");
  const FakeReply reply = link(ino, root(), "other");
  ASSERT_EQ(reply.err, 0);
  ASSERT_EQ(reply.body.size(), sizeof(fuse_entry_out));
  const auto entry = reply.as<fuse_entry_out>();
  EXPECT_EQ(entry.nodeid, ino);
  EXPECT_EQ(entry.entry_valid, kDay);
  EXPECT_EQ(entry.attr_valid, kDay);
  EXPECT_EQ(entry.attr.ino, ino);
  EXPECT_EQ(entry.attr.nlink, 2U);
  EXPECT_EQ(entry.attr.size, 5U);
  EXPECT_EQ(entry.attr.mode, S_IFREG | 0644U);
  EXPECT_EQ(unlink("file").err, 0);
  EXPECT_EQ(inode("other"), ino);
  EXPECT_EQ(attr(ino).nlink, 1U);
  forget(ino, 1);  // the CREATE's
  settle();
  EXPECT_TRUE(fsdax().lookups().counts().is_known(ino));
  forget(ino, 1);
  settle();
  EXPECT_FALSE(fsdax().lookups().counts().is_known(ino));
}

TEST_F(FuseRename, LinkThatFailsIsNoLookup) {
  const uint64_t ino = make_file("file");
  const uint64_t dir = make_directory(root(), "dir");
  EXPECT_EQ(link(dir, root(), "other").err, EPERM);
  EXPECT_EQ(link(ino, root(), "file").err, EEXIST);
  EXPECT_EQ(link(ino, root(), "dir").err, EEXIST);
  EXPECT_EQ(link(ino, root(), "..").err, EEXIST);
  EXPECT_EQ(link(ino, root(), std::string(256, 'n')).err, ENAMETOOLONG);
  EXPECT_EQ(link(ino, ino, "other").err, ENOTDIR);
  EXPECT_EQ(link(root() + 1000, root(), "other").err, ESTALE);
  EXPECT_EQ(link(ino, root() + 1000, "other").err, ESTALE);
  EXPECT_EQ(attr(ino).nlink, 1U);
  EXPECT_EQ(inode("other"), 0U);
  forget(ino, 1);
  forget(dir, 1);
  settle();
  EXPECT_EQ(fsdax().lookups().counts().size(), 0U);
}

TEST_F(FuseRename, LinkBetweenDevicesOrInTheRootIsRefused) {
  const uint64_t ino = make_file("file");
  const uint64_t dax = devdax().root_ino();
  EXPECT_EQ(link(dax, root(), "other").err, EXDEV);
  EXPECT_EQ(link(ino, dax, "other").err, EXDEV);
  EXPECT_EQ(link(ino, FUSE_ROOT_ID, "other").err, EXDEV);
  EXPECT_EQ(link(FUSE_ROOT_ID, FUSE_ROOT_ID, "other").err, EPERM);
  EXPECT_EQ(link(dax, dax, "other").err, EOPNOTSUPP);
  EXPECT_EQ(link(make_inode_number(77, 5), make_inode_number(77, 1), "other").err, ESTALE);
  must(fsdax().kill(false));
  EXPECT_EQ(link(ino, root(), "other").err, EIO);
}

// The kernel decides whether it may have one: linkat(2) gives a name to what O_TMPFILE made.
TEST_F(FuseRename, LinkGivesAnUnlinkedFileANameAgain) {
  const uint64_t ino = make_file("file", "bytes");
  EXPECT_EQ(unlink("file").err, 0);
  EXPECT_EQ(link(ino, root(), "again").as<fuse_entry_out>().attr.nlink, 1U);
  forget(ino, 2);
  EXPECT_EQ(inode("again"), ino);
  EXPECT_EQ(read(ino, 0, 9).body, "bytes");
}

TEST_F(FuseRename, LinkToWhatIsForgottenAndUnlinkedIsStale) {
  const uint64_t ino = make_file("file");
  EXPECT_EQ(unlink("file").err, 0);
  forget(ino, 1);
  EXPECT_EQ(link(ino, root(), "again").err, ESTALE);
  EXPECT_EQ(inode("again"), 0U);
}

}  // namespace
}  // namespace pmemd::test
