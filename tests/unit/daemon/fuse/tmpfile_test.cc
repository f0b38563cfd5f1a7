// FUSE_TMPFILE, which we answer ourselves: libfuse 3.14 doesn't know it.
#include <fcntl.h>

#include <string>

#include "tests/unit/daemon/fuse/session.h"

namespace pmemd::test {
namespace {

class FuseTmpfile : public FuseSession {
 protected:
  FuseTmpfile() { serve(); }

  static std::string body(uint32_t mode, uint32_t umask) {
    fuse_create_in in = {};
    in.flags = O_RDWR;
    in.mode = mode;
    in.umask = umask;
    return bytes(in) + name_bytes("/");
  }
};

TEST_F(FuseTmpfile, IsAFileWithoutANameThatIsOpen) {
  const FakeReply reply = kernel_.call(FUSE_TMPFILE, root(), body(S_IFREG | 0666, 022));
  ASSERT_EQ(reply.err, 0);
  ASSERT_EQ(reply.body.size(), sizeof(fuse_entry_out) + sizeof(fuse_open_out));
  const auto entry = reply.as<fuse_entry_out>();
  EXPECT_EQ(entry.attr.ino, entry.nodeid);
  EXPECT_EQ(entry.attr.mode, S_IFREG | 0644U);
  EXPECT_EQ(entry.attr.nlink, 0U);
  EXPECT_EQ(entry.attr.uid, getuid());
  const auto opened = reply.as<fuse_open_out>(sizeof(entry));
  EXPECT_NE(opened.open_flags & FOPEN_KEEP_CACHE, 0U);
  EXPECT_TRUE(fsdax().claims().is_writable(opened.fh));
  EXPECT_TRUE(fsdax().lookups().counts().is_known(entry.nodeid));
  EXPECT_EQ(write(entry.nodeid, 0, "bytes").err, 0);
  EXPECT_EQ(read(entry.nodeid, 0, 9).body, "bytes");
}

TEST_F(FuseTmpfile, GoesWithItsLastLookup) {
  const FakeReply reply = kernel_.call(FUSE_TMPFILE, root(), body(S_IFREG | 0600, 0));
  const uint64_t ino = reply.as<fuse_entry_out>().nodeid;
  fuse_release_in release = {};
  release.fh = reply.as<fuse_open_out>(sizeof(fuse_entry_out)).fh;
  EXPECT_EQ(kernel_.call(FUSE_RELEASE, ino, bytes(release)).err, 0);
  forget(ino, 1);
  EXPECT_EQ(kernel_.call(FUSE_GETATTR, ino, bytes(fuse_getattr_in{})).err, ESTALE);
  EXPECT_EQ(fsdax().claims().handle_count(), 0U);
}

TEST_F(FuseTmpfile, FailsWhereNoFileCanBeMade) {
  const std::string in = body(S_IFREG | 0600, 0);
  EXPECT_EQ(kernel_.call(FUSE_TMPFILE, FUSE_ROOT_ID, in).err, EPERM);
  EXPECT_EQ(kernel_.call(FUSE_TMPFILE, make_file("file"), in).err, ENOTDIR);
  EXPECT_EQ(kernel_.call(FUSE_TMPFILE, devdax().root_ino(), in).err, EOPNOTSUPP);
  EXPECT_EQ(kernel_.call(FUSE_TMPFILE, make_inode_number(77, 5), in).err, ESTALE);
  must(fsdax().kill(false));
  EXPECT_EQ(kernel_.call(FUSE_TMPFILE, root(), in).err, EIO);
  EXPECT_EQ(fsdax().claims().handle_count(), 0U);
}

// What isn't one to us isn't one to libfuse, either.
TEST_F(FuseTmpfile, ThatIsTooShortIsNone) {
  EXPECT_EQ(kernel_.call(FUSE_TMPFILE, root()).err, ENOSYS);
  EXPECT_EQ(kernel_.call(FUSE_TMPFILE, root(), body(S_IFREG, 0).substr(0, 15)).err, ENOSYS);
}

}  // namespace
}  // namespace pmemd::test
