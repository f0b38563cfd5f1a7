// Where a file has bytes, over the wire: LSEEK finds its data and holes, FALLOCATE makes them.
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "client/pmemd_ioctl.h"
#include "tests/unit/daemon/fuse/session.h"

namespace pmemd::test {
namespace {

constexpr uint32_t kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
constexpr uint32_t kUnknownWhence = 17;

class FuseSpace : public FuseSession {
 protected:
  FuseSpace() { serve(); }

  FakeReply seek(uint64_t ino, uint64_t offset, uint32_t whence) {
    fuse_lseek_in in = {};
    in.offset = offset;
    in.whence = whence;
    return kernel_.call(FUSE_LSEEK, ino, bytes(in));
  }
  // The offset found, or minus the errno.
  int64_t found(uint64_t ino, uint64_t offset, uint32_t whence) {
    const FakeReply reply = seek(ino, offset, whence);
    EXPECT_EQ(reply.body.size(), reply.err == 0 ? sizeof(fuse_lseek_out) : 0);
    return reply.err == 0 ? static_cast<int64_t>(reply.as<fuse_lseek_out>().offset) : -reply.err;
  }
  int fallocate(uint64_t ino, uint32_t mode, uint64_t offset, uint64_t length) {
    fuse_fallocate_in in = {};
    in.offset = offset;
    in.length = length;
    in.mode = mode;
    const FakeReply reply = kernel_.call(FUSE_FALLOCATE, ino, bytes(in));
    EXPECT_EQ(reply.body, "");
    return reply.err;
  }
  fuse_attr attr(uint64_t ino) {
    return kernel_.call(FUSE_GETATTR, ino, bytes(fuse_getattr_in{})).as<fuse_attr_out>().attr;
  }
  // A page of data, a page of hole, and again; the last one is short.
  uint64_t make_file_with_holes() {
    const uint64_t ino = make_file("holes");
    EXPECT_EQ(write(ino, 0, std::string(kPageSize, 'a')).err, 0);
    EXPECT_EQ(write(ino, 2 * kPageSize, std::string(100, 'b')).err, 0);
    return ino;
  }
};

// --- LSEEK

TEST_F(FuseSpace, SeekFindsDataAndHoles) {
  const uint64_t ino = make_file_with_holes();
  const auto page = static_cast<int64_t>(kPageSize);
  EXPECT_EQ(found(ino, 0, SEEK_DATA), 0);
  EXPECT_EQ(found(ino, 7, SEEK_DATA), 7);
  EXPECT_EQ(found(ino, kPageSize, SEEK_DATA), 2 * page);
  EXPECT_EQ(found(ino, 0, SEEK_HOLE), page);
  EXPECT_EQ(found(ino, kPageSize + 7, SEEK_HOLE), page + 7);
  EXPECT_EQ(found(ino, 2 * kPageSize, SEEK_HOLE), 2 * page + 100);  // the end is one
}

TEST_F(FuseSpace, SeekAtAndBehindTheEndFails) {
  const uint64_t ino = make_file_with_holes();
  const uint64_t size = 2 * kPageSize + 100;
  EXPECT_EQ(found(ino, size - 1, SEEK_DATA), static_cast<int64_t>(size) - 1);
  for (const uint64_t offset : {size, size + 1, uint64_t{1} << 40, UINT64_MAX}) {
    EXPECT_EQ(found(ino, offset, SEEK_DATA), -ENXIO) << offset;
    EXPECT_EQ(found(ino, offset, SEEK_HOLE), -ENXIO) << offset;
  }
  const uint64_t empty = make_file("empty");
  EXPECT_EQ(found(empty, 0, SEEK_DATA), -ENXIO);
  EXPECT_EQ(found(empty, 0, SEEK_HOLE), -ENXIO);
  // No data behind the last hole's start.
  const uint64_t hole = make_file("hole");
  EXPECT_EQ(write(hole, kPageSize, "x").err, 0);
  EXPECT_EQ(fallocate(hole, kPunch, kPageSize, kPageSize), 0);
  EXPECT_EQ(found(hole, 0, SEEK_DATA), -ENXIO);
  EXPECT_EQ(found(hole, 5, SEEK_HOLE), 5);
}

// The kernel does SEEK_SET, SEEK_CUR and SEEK_END itself.
TEST_F(FuseSpace, SeekOfAnotherKindIsRefused) {
  const uint64_t ino = make_file_with_holes();
  for (const uint32_t whence :
       {uint32_t{SEEK_SET}, uint32_t{SEEK_CUR}, uint32_t{SEEK_END}, kUnknownWhence, UINT32_MAX}) {
    EXPECT_EQ(found(ino, 0, whence), -EINVAL) << whence;
    EXPECT_EQ(found(devdax().root_ino(), 0, whence), -EINVAL) << whence;
  }
}

// A mapping may have stored to them without a request.
TEST_F(FuseSpace, SeekTakesLentPagesOfAWriterForData) {
  const uint64_t ino = make_file_with_holes();
  read(ino, kPageSize, kPageSize);
  EXPECT_EQ(found(ino, kPageSize, SEEK_HOLE), static_cast<int64_t>(kPageSize));
  open(ino, O_RDWR);
  EXPECT_EQ(found(ino, kPageSize, SEEK_DATA), static_cast<int64_t>(kPageSize));
  EXPECT_EQ(found(ino, 0, SEEK_HOLE), static_cast<int64_t>(2 * kPageSize + 100));
}

TEST_F(FuseSpace, SeekInADeviceFileFindsDataOnly) {
  for (Device* device : {&devdax(), &private_memory(), &p2p()}) {
    const uint64_t ino = device->root_ino();
    const auto size = static_cast<int64_t>(attr(ino).size);
    EXPECT_EQ(found(ino, 5, SEEK_DATA), 5);
    EXPECT_EQ(found(ino, 5, SEEK_HOLE), size);
    EXPECT_EQ(found(ino, static_cast<uint64_t>(size), SEEK_DATA), -ENXIO);
    EXPECT_EQ(found(ino, static_cast<uint64_t>(size), SEEK_HOLE), -ENXIO);
  }
}

TEST_F(FuseSpace, SeekWhereThereIsNoFileFails) {
  const uint64_t ino = make_file_with_holes();
  EXPECT_EQ(found(FUSE_ROOT_ID, 0, SEEK_DATA), -EPERM);
  EXPECT_EQ(found(make_inode_number(77, 5), 0, SEEK_DATA), -ESTALE);
  EXPECT_EQ(found(root() + 1000, 0, SEEK_DATA), -ESTALE);
  must(fsdax().kill(false));
  EXPECT_EQ(found(ino, 0, SEEK_DATA), -EIO);
}

// --- FALLOCATE

TEST_F(FuseSpace, AllocationGrowsTheFileUnlessItIsToKeepItsSize) {
  const uint64_t ino = make_file("file", "12345");
  EXPECT_EQ(fallocate(ino, FALLOC_FL_KEEP_SIZE, 0, 4 * kPageSize), 0);
  EXPECT_EQ(attr(ino).size, 5U);
  EXPECT_EQ(attr(ino).blocks, 4 * kPageSize / 512);
  EXPECT_EQ(fallocate(ino, 0, kPageSize, kPageSize + 1), 0);
  EXPECT_EQ(attr(ino).size, 2 * kPageSize + 1);
  EXPECT_EQ(fallocate(ino, 0, 0, 1), 0);  // is there already
  EXPECT_EQ(attr(ino).size, 2 * kPageSize + 1);
  EXPECT_EQ(read(ino, 0, 8 * kPageSize).body, "12345" + std::string(2 * kPageSize + 1 - 5, '\0'));
}

TEST_F(FuseSpace, PunchLeavesAHoleOfZeros) {
  const uint64_t ino = make_file("file", std::string(3 * kPageSize, 'a'));
  EXPECT_EQ(fallocate(ino, kPunch, kPageSize - 1, kPageSize + 2), 0);
  const std::string expected = std::string(kPageSize - 1, 'a') + std::string(kPageSize + 2, '\0') +
                               std::string(kPageSize - 1, 'a');
  EXPECT_EQ(read(ino, 0, 8 * kPageSize).body, expected);
  EXPECT_EQ(attr(ino).size, 3 * kPageSize);
  EXPECT_EQ(attr(ino).blocks, 2 * kPageSize / 512);
  EXPECT_EQ(found(ino, 0, SEEK_HOLE), static_cast<int64_t>(kPageSize));
}

TEST_F(FuseSpace, ZeroRangeZeroesAndAllocates) {
  const uint64_t ino = make_file("file", std::string(kPageSize, 'a'));
  EXPECT_EQ(fallocate(ino, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 3, 2 * kPageSize), 0);
  EXPECT_EQ(attr(ino).size, kPageSize);
  EXPECT_EQ(read(ino, 0, 8 * kPageSize).body, "aaa" + std::string(kPageSize - 3, '\0'));
  EXPECT_EQ(fallocate(ino, FALLOC_FL_ZERO_RANGE, 1, 2 * kPageSize), 0);
  EXPECT_EQ(attr(ino).size, 2 * kPageSize + 1);
  EXPECT_EQ(read(ino, 0, 8 * kPageSize).body, "a" + std::string(2 * kPageSize, '\0'));
}

TEST_F(FuseSpace, AllocationOfAnotherKindIsRefused) {
  const uint64_t ino = make_file("file", std::string(kPageSize, 'a'));
  for (const uint32_t mode :
       {uint32_t{FALLOC_FL_PUNCH_HOLE}, uint32_t{FALLOC_FL_COLLAPSE_RANGE},
        uint32_t{FALLOC_FL_INSERT_RANGE}, uint32_t{FALLOC_FL_UNSHARE_RANGE},
        uint32_t{FALLOC_FL_NO_HIDE_STALE}, kPunch | FALLOC_FL_ZERO_RANGE, 1U << 20, UINT32_MAX}) {
    EXPECT_EQ(fallocate(ino, mode, 0, kPageSize), EOPNOTSUPP) << mode;
  }
  EXPECT_EQ(read(ino, 0, 2 * kPageSize).body, std::string(kPageSize, 'a'));
}

TEST_F(FuseSpace, AllocationOfNothingOrOfTooMuchIsRefused) {
  const uint64_t ino = make_file("file");
  EXPECT_EQ(fallocate(ino, 0, 0, 0), EINVAL);
  EXPECT_EQ(fallocate(ino, 0, uint64_t{1} << 45, 1), EFBIG);
  EXPECT_EQ(fallocate(ino, 0, 0, uint64_t{1} << 45), EFBIG);
  EXPECT_EQ(fallocate(ino, 0, 8, UINT64_MAX), EFBIG);
  EXPECT_EQ(fallocate(ino, 0, 0, uint64_t{1} << 40), ENOSPC);
  EXPECT_EQ(attr(ino).size, 0U);
  EXPECT_EQ(attr(ino).blocks, 0U);
}

TEST_F(FuseSpace, DeviceFileHasAllItsBlocksAndNeverLosesOne) {
  const uint64_t ino = devdax().root_ino();
  const uint64_t size = attr(ino).size;
  EXPECT_EQ(fallocate(ino, 0, 0, size), 0);
  EXPECT_EQ(fallocate(ino, FALLOC_FL_KEEP_SIZE, size - 1, 1), 0);
  EXPECT_EQ(fallocate(ino, 0, size - 1, 2), ENODEV);
  EXPECT_EQ(fallocate(ino, FALLOC_FL_KEEP_SIZE, size, 1), ENODEV);
  EXPECT_EQ(fallocate(ino, 0, 8, UINT64_MAX), ENODEV);
  EXPECT_EQ(fallocate(ino, kPunch, 0, kPageSize), ENODEV);
  EXPECT_EQ(fallocate(ino, FALLOC_FL_ZERO_RANGE, 0, kPageSize), ENODEV);
  must(devdax().kill(false));
  EXPECT_EQ(fallocate(ino, 0, 0, size), ENXIO);
}

TEST_F(FuseSpace, PinnedBlocksAreNotTakenFromTheFile) {
  const uint64_t ino = make_file("file", std::string(4 * kPageSize, 'a'));
  const uint64_t handle = open(ino, O_RDWR);
  const FakeReply reply = ioctl(ino, handle, PMEMD_IOC_PIN,
                                bytes(pmemd_pin{kPageSize, kPageSize, 0}), sizeof(pmemd_pin));
  ASSERT_EQ(reply.err, 0);
  const uint64_t id = reply.as<pmemd_pin>(sizeof(fuse_ioctl_out)).id;
  EXPECT_EQ(fallocate(ino, kPunch, 0, 4 * kPageSize), EBUSY);
  EXPECT_EQ(fallocate(ino, kPunch, 2 * kPageSize - 1, 1), EBUSY);
  EXPECT_EQ(fallocate(ino, FALLOC_FL_ZERO_RANGE, 0, kPageSize + 1), EBUSY);
  EXPECT_EQ(read(ino, 0, 4 * kPageSize).body, std::string(4 * kPageSize, 'a'));
  EXPECT_EQ(fallocate(ino, kPunch, 0, kPageSize), 0);  // beside it
  EXPECT_EQ(fallocate(ino, kPunch, 2 * kPageSize, kPageSize), 0);
  EXPECT_EQ(fallocate(ino, 0, 0, 8 * kPageSize), 0);  // takes nothing
  EXPECT_EQ(ioctl(ino, handle, PMEMD_IOC_UNPIN, bytes(id), 0).err, 0);
  EXPECT_EQ(fallocate(ino, kPunch, 0, 4 * kPageSize), 0);
}

// The kernel drops the whole pages.
TEST_F(FuseSpace, PunchGivesBackTheLeasesOfWholePages) {
  const uint64_t ino = make_file("file", std::string(4 * kPageSize, 'a'));
  read(ino, 0, 4 * kPageSize);
  EXPECT_EQ(fallocate(ino, 0, 0, 4 * kPageSize), 0);
  EXPECT_EQ(fsdax().leases().ranges(ino), (std::vector<FileRange>{{0, 4 * kPageSize}}));
  EXPECT_EQ(fallocate(ino, kPunch, kPageSize - 1, 2 * kPageSize), 0);
  EXPECT_EQ(fsdax().leases().ranges(ino),
            (std::vector<FileRange>{{0, kPageSize}, {2 * kPageSize, 4 * kPageSize}}));
}

TEST_F(FuseSpace, AllocationWhereThereIsNoFileFails) {
  const uint64_t ino = make_file("file");
  EXPECT_EQ(fallocate(FUSE_ROOT_ID, 0, 0, 1), EPERM);
  EXPECT_EQ(fallocate(make_inode_number(77, 5), 0, 0, 1), ESTALE);
  EXPECT_EQ(fallocate(root() + 1000, 0, 0, 1), ESTALE);
  must(fsdax().kill(false));
  EXPECT_EQ(fallocate(ino, 0, 0, 1), EIO);
}

}  // namespace
}  // namespace pmemd::test
