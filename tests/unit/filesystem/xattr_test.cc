#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/xattr.h>

#include <string>

#include "core/filesystem/acl.h"
#include "core/filesystem/filesystem.h"
#include "tests/unit/filesystem/mounted_fs.h"

namespace pmemd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint32_t kNoId = UINT32_MAX;

Acl extended(uint16_t user, uint16_t mask) {
  return {{kAclUserObj, 7, kNoId},
          {kAclUser, user, 1000},
          {kAclGroupObj, 5, kNoId},
          {kAclMask, mask, kNoId},
          {kAclOther, 0, kNoId}};
}

Acl minimal(uint16_t owner, uint16_t group, uint16_t other) {
  return {{kAclUserObj, owner, kNoId}, {kAclGroupObj, group, kNoId}, {kAclOther, other, kNoId}};
}

class XattrTest : public testing::Test {
 protected:
  XattrTest() {
    ino_ = fs_.make("f");
    dir_ = fs_.make_dir("d");
  }
  int set(std::string_view name, std::string_view value, int flags = 0) {
    return fs_->xattrs().set(ino_, name, value, flags, false).err();
  }
  Result<std::string> get(std::string_view name) { return fs_->xattrs().get(ino_, name); }
  int set_acl(uint64_t ino, std::string_view name, const Acl& acl, bool kill_sgid = false) {
    return fs_->xattrs().set(ino, name, encode_acl(acl), 0, kill_sgid).err();
  }
  Acl acl_of(uint64_t ino, std::string_view name = kAclAccessName) {
    const auto value = fs_->xattrs().get(ino, name);
    return value ? *parse_acl(*value) : Acl();
  }
  int chmod(uint64_t ino, mode_t mode) {
    SetAttr change;
    change.mode = mode;
    return fs_->setattr(ino, change).err();
  }

  MountedFs fs_;
  uint64_t ino_ = 0, dir_ = 0;
};

TEST_F(XattrTest, AreKept) {
  const std::string bytes("a\0\xff", 3);
  EXPECT_EQ(set("user.b", bytes), 0);
  EXPECT_EQ(set("user.a", ""), 0);
  EXPECT_EQ(set("trusted.x", "t"), 0);
  EXPECT_EQ(set("security.selinux", "label"), 0);
  fs_.crash();
  EXPECT_EQ(*get("user.b"), bytes);
  EXPECT_EQ(*get("user.a"), "");
  EXPECT_THAT(*fs_->xattrs().list(ino_),
              ElementsAre("security.selinux", "trusted.x", "user.a", "user.b"));
  EXPECT_EQ(set("user.b", "new"), 0);
  EXPECT_EQ(*get("user.b"), "new");
  EXPECT_EQ(fs_->xattrs().remove(ino_, "user.b").err(), 0);
  EXPECT_EQ(get("user.b").err(), ENODATA);
  EXPECT_EQ(fs_->xattrs().remove(ino_, "user.b").err(), ENODATA);
}

TEST_F(XattrTest, FlagsSayWhatMustBeThere) {
  EXPECT_EQ(set("user.a", "1", XATTR_REPLACE), ENODATA);
  EXPECT_EQ(set("user.a", "1", XATTR_CREATE), 0);
  EXPECT_EQ(set("user.a", "2", XATTR_CREATE), EEXIST);
  EXPECT_EQ(*get("user.a"), "1");
  EXPECT_EQ(set("user.a", "3", XATTR_REPLACE), 0);
  EXPECT_EQ(*get("user.a"), "3");
}

TEST_F(XattrTest, NamesAndSizesHaveLimits) {
  EXPECT_EQ(set("", "x"), ERANGE);
  EXPECT_EQ(set("user." + std::string(251, 'n'), "x"), ERANGE);
  EXPECT_EQ(set("user." + std::string(250, 'n'), "x"), 0);
  EXPECT_EQ(set("user.", "x"), EINVAL);
  EXPECT_EQ(set("system.other", "x"), EOPNOTSUPP);
  EXPECT_EQ(set("nonsense", "x"), EOPNOTSUPP);
  EXPECT_EQ(get("nonsense").err(), EOPNOTSUPP);
  EXPECT_EQ(fs_->xattrs().remove(ino_, "nonsense").err(), EOPNOTSUPP);
  EXPECT_EQ(set("user.a", std::string(64 * kKiB, 'x')), 0);
  EXPECT_EQ(set("user.a", std::string(64 * kKiB + 1, 'x')), E2BIG);
}

TEST_F(XattrTest, AnInodeHasAMegabyteOfThem) {
  const std::string bytes(64 * kKiB, 'x');
  int err = 0;
  int count = 0;
  while (err == 0) err = set("user." + std::to_string(count++), bytes);
  EXPECT_EQ(err, ENOSPC);
  EXPECT_EQ(count, 16);
  EXPECT_EQ(set("user.0", bytes), 0) << "replaced";
  EXPECT_EQ(set("user.0", ""), 0);
  EXPECT_EQ(set("user.15", bytes), 0);
}

TEST_F(XattrTest, GoWithTheirInode) {
  EXPECT_EQ(set("user.a", "1"), 0);
  must(fs_->unlink(fs_.root(), "f"));
  MutexLock lock(fs_.db().mutex());
  Statement count = must(fs_.db().prepare("SELECT count(*) FROM xattrs"));
  ASSERT_TRUE(must(count.step()));
  EXPECT_EQ(count.column_int(0), 0);
}

// --- ACLs

TEST_F(XattrTest, AnAccessAclSetsTheMode) {
  EXPECT_EQ(set_acl(ino_, kAclAccessName, extended(6, 4)), 0);
  EXPECT_EQ(fs_.attr(ino_).mode, S_IFREG | 0740u);
  EXPECT_EQ(acl_of(ino_), extended(6, 4));
  EXPECT_THAT(*fs_->xattrs().list(ino_), ElementsAre(kAclAccessName));
}

TEST_F(XattrTest, AnAclThatSaysNoMoreThanTheModeIsNotKept) {
  EXPECT_EQ(set_acl(ino_, kAclAccessName, extended(6, 4)), 0);
  EXPECT_EQ(set_acl(ino_, kAclAccessName, minimal(6, 4, 2)), 0);
  EXPECT_EQ(fs_.attr(ino_).mode, S_IFREG | 0642u);
  EXPECT_EQ(get(kAclAccessName).err(), ENODATA);
}

TEST_F(XattrTest, ChmodChangesTheAcl) {
  EXPECT_EQ(set_acl(ino_, kAclAccessName, extended(6, 4)), 0);
  EXPECT_EQ(chmod(ino_, 0621), 0);
  const Acl acl = acl_of(ino_);
  EXPECT_EQ(acl_mode(acl), 0621u);
  EXPECT_EQ(acl[1].perm, 6);
  EXPECT_EQ(acl[2].perm, 5);
}

TEST_F(XattrTest, RemovingAnAclLeavesTheMode) {
  EXPECT_EQ(set_acl(ino_, kAclAccessName, extended(6, 4)), 0);
  EXPECT_EQ(fs_->xattrs().remove(ino_, kAclAccessName).err(), 0);
  EXPECT_EQ(fs_.attr(ino_).mode, S_IFREG | 0740u);
  EXPECT_EQ(get(kAclAccessName).err(), ENODATA);
  EXPECT_EQ(fs_->xattrs().remove(ino_, kAclAccessName).err(), 0) << "as in ext4";
  EXPECT_EQ(set_acl(ino_, kAclAccessName, extended(6, 4)), 0);
  EXPECT_EQ(set(kAclAccessName, ""), 0);
  EXPECT_EQ(get(kAclAccessName).err(), ENODATA);
}

TEST_F(XattrTest, AnAclChangeMayClearSetgid) {
  EXPECT_EQ(chmod(ino_, 02755), 0);
  EXPECT_EQ(set_acl(ino_, kAclAccessName, extended(6, 4)), 0);
  EXPECT_EQ(fs_.attr(ino_).mode, S_IFREG | 02740u);
  EXPECT_EQ(set_acl(ino_, kAclAccessName, extended(6, 4), true), 0);
  EXPECT_EQ(fs_.attr(ino_).mode, S_IFREG | 0740u);
}

TEST_F(XattrTest, BadAclsAreRefused) {
  EXPECT_EQ(set(kAclAccessName, "nonsense"), EOPNOTSUPP);
  EXPECT_EQ(set(kAclAccessName, "x"), EINVAL);
  EXPECT_EQ(set_acl(ino_, kAclAccessName, {{kAclUserObj, 7, kNoId}}), EINVAL);
  EXPECT_EQ(set_acl(ino_, kAclDefaultName, extended(6, 4)), EACCES);
  EXPECT_EQ(set(kAclDefaultName, ""), 0);
  const uint64_t link = must(fs_->symlink(fs_.root(), "l", "x", {})).ino;
  EXPECT_EQ(set_acl(link, kAclAccessName, minimal(7, 7, 7)), EOPNOTSUPP);
}

TEST_F(XattrTest, ADefaultAclIsInherited) {
  EXPECT_EQ(set_acl(dir_, kAclDefaultName, extended(6, 7)), 0);
  EXPECT_EQ(fs_.attr(dir_).mode, S_IFDIR | 0755u) << "is about what comes, not the directory";

  const Attr file = must(fs_->mknod(dir_, "f", S_IFREG | 0664, 0, {0, 0, 0777}));
  EXPECT_EQ(file.mode, S_IFREG | 0660u) << "no umask";
  EXPECT_EQ(acl_mode(acl_of(file.ino)), 0660u);
  EXPECT_TRUE(acl_of(file.ino, kAclDefaultName).empty());

  const Attr sub = must(fs_->mkdir(dir_, "s", 0700, {0, 0, 0777}));
  EXPECT_EQ(sub.mode, S_IFDIR | 0700u);
  EXPECT_EQ(acl_of(sub.ino, kAclDefaultName), extended(6, 7));
  EXPECT_EQ(must(fs_->tmpfile(sub.ino, 0666, {0, 0, 0777})).mode, S_IFREG | 0660u);

  const Attr link = must(fs_->symlink(dir_, "l", "x", {0, 0, 0777}));
  EXPECT_EQ(link.mode, S_IFLNK | 0777u);
  EXPECT_THAT(*fs_->xattrs().list(link.ino), IsEmpty());
}

TEST_F(XattrTest, TheDefaultAclInForceIsTheLastOneSet) {
  const auto made = [&](const char* name) {
    return must(fs_->mknod(dir_, name, S_IFREG | 0666, 0, {0, 0, 0077})).mode & 0777;
  };
  EXPECT_EQ(made("1"), 0600u);
  EXPECT_EQ(set_acl(dir_, kAclDefaultName, minimal(7, 5, 4)), 0);
  EXPECT_EQ(made("2"), 0644u);
  EXPECT_EQ(set_acl(dir_, kAclDefaultName, minimal(7, 0, 2)), 0);
  EXPECT_EQ(made("3"), 0602u);
  fs_.remount();
  EXPECT_EQ(made("4"), 0602u);
  EXPECT_EQ(fs_->xattrs().remove(dir_, kAclDefaultName).err(), 0);
  EXPECT_EQ(made("5"), 0600u);
  EXPECT_EQ(set_acl(dir_, kAclDefaultName, minimal(7, 0, 2)), 0);
  EXPECT_EQ(fs_->xattrs().set(dir_, kAclDefaultName, "", 0, false).err(), 0);
  EXPECT_EQ(made("6"), 0600u);
}

}  // namespace
}  // namespace pmemd
