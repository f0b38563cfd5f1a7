// Attributes over the wire: GETATTR, SETATTR, STATFS, xattrs.
#include <sys/xattr.h>

#include <string>
#include <vector>

#include "tests/unit/daemon/fuse/session.h"

namespace pmemd::test {
namespace {

class FuseAttrs : public FuseSession {
 protected:
  FuseAttrs() { serve(); }

  FakeReply getattr(uint64_t ino) {
    return kernel_.call(FUSE_GETATTR, ino, bytes(fuse_getattr_in{}));
  }
  FakeReply truncate(uint64_t ino, uint64_t size) {
    fuse_setattr_in in = {};
    in.valid = FATTR_SIZE;
    in.size = size;
    return kernel_.call(FUSE_SETATTR, ino, bytes(in));
  }
  FakeReply getxattr(uint64_t ino, std::string_view name, uint32_t size) {
    return kernel_.call(FUSE_GETXATTR, ino, bytes(fuse_getxattr_in{size, 0}) + name_bytes(name));
  }
  int setxattr(uint64_t ino, std::string_view name, std::string_view value) {
    fuse_setxattr_in in = {};
    in.size = static_cast<uint32_t>(value.size());
    // Without FUSE_SETXATTR_EXT it is as long as it was in the beginning.
    const std::string head = bytes(in).substr(0, FUSE_COMPAT_SETXATTR_IN_SIZE);
    return kernel_.call(FUSE_SETXATTR, ino, head + name_bytes(name) + std::string(value)).err;
  }
};

TEST_F(FuseAttrs, GetattrTellsWhatSetattrSet) {
  const uint64_t ino = make_file("file", "12345");
  fuse_setattr_in in = {};
  in.valid = FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_MTIME;
  in.mode = 04711;
  in.uid = 12;
  in.gid = 34;
  in.mtime = 1'000'000;
  in.mtimensec = 7;
  EXPECT_EQ(kernel_.call(FUSE_SETATTR, ino, bytes(in)).err, 0);
  const auto out = getattr(ino).as<fuse_attr_out>();
  EXPECT_EQ(out.attr_valid, 24U * 3600);
  EXPECT_EQ(out.attr.ino, ino);
  EXPECT_EQ(out.attr.mode, S_IFREG | 04711U);
  EXPECT_EQ(out.attr.uid, 12U);
  EXPECT_EQ(out.attr.gid, 34U);
  EXPECT_EQ(out.attr.size, 5U);
  EXPECT_EQ(out.attr.nlink, 1U);
  EXPECT_EQ(out.attr.mtime, 1'000'000U);
  EXPECT_EQ(out.attr.mtimensec, 7U);
}

TEST_F(FuseAttrs, GetattrOfTheRootAndOfWhatIsNotThere) {
  EXPECT_EQ(getattr(FUSE_ROOT_ID).as<fuse_attr_out>().attr.mode, S_IFDIR | 0755U);
  EXPECT_EQ(getattr(root() + 1000).err, ESTALE);
  EXPECT_EQ(getattr(make_inode_number(77, 5)).err, ESTALE);
  EXPECT_EQ(kernel_.call(FUSE_SETATTR, FUSE_ROOT_ID, bytes(fuse_setattr_in{})).err, EPERM);
}

// Pages of a mapping fill holes without a request.
TEST_F(FuseAttrs, AttributesOfAFileWithHolesAreNotCached) {
  const uint64_t ino = make_file("file");
  EXPECT_EQ(truncate(ino, 1 << 20).err, 0);
  EXPECT_EQ(getattr(ino).as<fuse_attr_out>().attr_valid, 0U);
}

// fstat(2) of an open file goes on working.
TEST_F(FuseAttrs, RemovedDeviceTellsTheLastAttributesOfOpenFiles) {
  const uint64_t opened = make_file("open", "12345");
  const uint64_t other = make_file("other");
  open(opened, 0);
  must(fsdax().kill(false));
  EXPECT_EQ(getattr(opened).as<fuse_attr_out>().attr.size, 5U);
  fsdax().stop_writeback();
  // The replies have come; the requests may be ending still.
  must(fsdax().release(deadline_after(std::chrono::seconds(10)), /*abandon=*/true));
  const auto out = getattr(opened).as<fuse_attr_out>();
  EXPECT_EQ(out.attr.size, 5U);
  EXPECT_EQ(out.attr_valid, 0U);
  EXPECT_EQ(getattr(other).err, EIO);
  EXPECT_EQ(truncate(opened, 0).err, EIO);
}

TEST_F(FuseAttrs, TruncateGivesBackWhatIsBehindTheEnd) {
  const uint64_t ino = make_file("file", std::string(4 * kPageSize, 'a'));
  read(ino, 0, 4 * kPageSize);
  EXPECT_EQ(truncate(ino, kPageSize + 1).as<fuse_attr_out>().attr.size, kPageSize + 1);
  EXPECT_EQ(fsdax().leases().ranges(ino), (std::vector<FileRange>{{0, 2 * kPageSize}}));
}

TEST_F(FuseAttrs, TruncateOfAPinnedRangeIsRefused) {
  const uint64_t ino = make_file("file", std::string(2 * kPageSize, 'a'));
  const uint64_t handle = open(ino, 0);
  const uint64_t pin = must(fsdax().handles().pin(handle, getpid(), {0, kPageSize}));
  EXPECT_EQ(truncate(ino, kPageSize).err, 0);
  EXPECT_EQ(truncate(ino, kPageSize - 1).err, EBUSY);
  must(fsdax().handles().end_claim(handle, ReferenceKind::kPin, pin));
  EXPECT_EQ(truncate(ino, kPageSize - 1).err, 0);
}

TEST_F(FuseAttrs, DeviceFileKeepsItsSize) {
  const uint64_t ino = devdax().root_ino();
  EXPECT_EQ(truncate(ino, 1).err, EINVAL);
  EXPECT_EQ(truncate(ino, devdax().record().data_bytes()).err, 0);
}

TEST_F(FuseAttrs, StatfsTellsOfTheDevice) {
  const auto space = kernel_.call(FUSE_STATFS, root()).as<fuse_statfs_out>();
  EXPECT_EQ(space.st.namelen, 255U);
  EXPECT_GT(space.st.bfree, 0U);
  const auto device = kernel_.call(FUSE_STATFS, devdax().root_ino()).as<fuse_statfs_out>();
  EXPECT_EQ(device.st.blocks * device.st.frsize, devdax().record().data_bytes());
  EXPECT_EQ(device.st.bfree, 0U);
}

TEST_F(FuseAttrs, XattrIsToldByItsSizeFirst) {
  const uint64_t ino = make_file("file");
  EXPECT_EQ(setxattr(ino, "user.a", "value"), 0);
  EXPECT_EQ(getxattr(ino, "user.a", 0).as<fuse_getxattr_out>().size, 5U);
  EXPECT_EQ(getxattr(ino, "user.a", 5).body, "value");
  EXPECT_EQ(getxattr(ino, "user.a", 4).err, ERANGE);
  EXPECT_EQ(getxattr(ino, "user.b", 0).err, ENODATA);
  EXPECT_EQ(getxattr(FUSE_ROOT_ID, "user.a", 0).err, ENODATA);
  EXPECT_EQ(getxattr(devdax().root_ino(), "user.a", 0).err, ENODATA);
}

TEST_F(FuseAttrs, TrustedXattrsAreListedForRootAlone) {
  const uint64_t ino = make_file("file");
  EXPECT_EQ(setxattr(ino, "user.a", "1"), 0);
  EXPECT_EQ(setxattr(ino, "trusted.b", "2"), 0);
  const auto list = [&](uint32_t size) {
    return kernel_.call(FUSE_LISTXATTR, ino, bytes(fuse_getxattr_in{size, 0}));
  };
  kernel_.sender().uid = 0;
  EXPECT_EQ(list(0).as<fuse_getxattr_out>().size, sizeof("user.a") + sizeof("trusted.b"));
  kernel_.sender().uid = 1234;
  EXPECT_EQ(list(100).body, name_bytes("user.a"));
}

}  // namespace
}  // namespace pmemd::test
