// Data over the wire: OPEN, RELEASE, READ, WRITE, FSYNC, FLUSH, and what they leave on the device.
#include <fcntl.h>

#include <string>
#include <vector>

#include "tests/unit/daemon/fuse/session.h"

namespace pmemd::test {
namespace {

// Bytes of which no two neighbours are the same.
std::string pattern(size_t size) {
  std::string data(size, '\0');
  for (size_t i = 0; i < size; ++i) data[i] = static_cast<char>(i % 251);
  return data;
}

class FuseFiles : public FuseSession {
 protected:
  void release(uint64_t ino, uint64_t handle) {
    fuse_release_in in = {};
    in.fh = handle;
    EXPECT_EQ(kernel_.call(FUSE_RELEASE, ino, bytes(in)).err, 0);
  }
  std::vector<FileRange> lent(uint64_t ino) { return fsdax().leases().ranges(ino); }
};

// --- READ

TEST_F(FuseFiles, ReadOfOddLengthsGivesJustThese) {
  serve();
  const std::string data = pattern(3 * kPageSize + 7);
  const uint64_t ino = make_file("file", data);
  for (const uint64_t offset : {uint64_t{0}, uint64_t{1}, kPageSize - 1, kPageSize + 3}) {
    for (const uint32_t size : {1U, 2U, 511U, 4095U, 4097U, 8191U}) {
      const FakeReply reply = read(ino, offset, size);
      EXPECT_EQ(reply.err, 0);
      EXPECT_EQ(reply.body, data.substr(offset, size)) << offset << " " << size;
    }
  }
}

TEST_F(FuseFiles, ReadEndsWhereTheFileEnds) {
  serve();
  const std::string data = pattern(kPageSize + 7);
  const uint64_t ino = make_file("file", data);
  EXPECT_EQ(read(ino, 0, 16 * kPageSize).body, data);
  EXPECT_EQ(read(ino, kPageSize + 6, 4096).body, data.substr(kPageSize + 6));
  for (const uint64_t behind : {data.size(), data.size() + 1, uint64_t{1} << 40}) {
    const FakeReply reply = read(ino, behind, 4096);
    EXPECT_EQ(reply.err, 0);
    EXPECT_EQ(reply.body, "");
  }
  EXPECT_EQ(read(ino, 0, 0).body, "");
}

TEST_F(FuseFiles, ReadOfADeviceFileEndsWhereItEnds) {
  serve();
  const uint64_t ino = devdax().root_ino();
  const uint64_t size = devdax().record().data_bytes();
  EXPECT_EQ(read(ino, size - 5, 4096).body, std::string(5, '\0'));
  EXPECT_EQ(read(ino, size, 4096).body, "");
  EXPECT_EQ(read(ino, 3, 7).body, std::string(7, '\0'));
  EXPECT_EQ(devdax().leases().ranges(ino),
            (std::vector<FileRange>{{0, kPageSize}, {size - kPageSize, size}}));
}

// The line is full: the reply waits in the daemon, and what it lends is recorded by then.
TEST_F(FuseFiles, ReadRecordsALeaseBeforeItsReplyLeaves) {
  serve();
  const uint64_t ino = make_file("file", pattern(3 * kPageSize));
  kernel_.jam();
  const uint64_t unique = kernel_.send(FUSE_READ, ino, read_bytes(kPageSize + 1, 2));
  EXPECT_TRUE(eventually([&] { return !lent(ino).empty(); }));
  EXPECT_EQ(fsdax().requests_in_flight(), 1U);
  EXPECT_EQ(kernel_.reply_to(unique).body.size(), 2U);
  EXPECT_EQ(lent(ino), (std::vector<FileRange>{{kPageSize, 2 * kPageSize}}));
}

TEST_F(FuseFiles, ReadLendsWholePagesOfWhatItGives) {
  serve();
  const uint64_t ino = make_file("file", pattern(2 * kPageSize + 1));
  read(ino, 1 << 20, 4096);  // nothing
  EXPECT_TRUE(lent(ino).empty());
  read(ino, kPageSize - 1, 2);
  EXPECT_EQ(lent(ino), (std::vector<FileRange>{{0, 2 * kPageSize}}));
  read(ino, 0, 1 << 17);
  EXPECT_EQ(lent(ino), (std::vector<FileRange>{{0, 3 * kPageSize}}));
}

TEST_F(FuseFiles, DirectReadLendsNothing) {
  serve();
  const uint64_t ino = make_file("file", pattern(kPageSize));
  EXPECT_EQ(read(ino, 0, kPageSize, O_DIRECT).body.size(), kPageSize);
  EXPECT_TRUE(lent(ino).empty());
}

TEST_F(FuseFiles, ReadThatFailsLendsNothing) {
  serve();
  const uint64_t ino = make_file("file", pattern(kPageSize));
  must(FaultPoint::arm("read.begin", {.err = ENOMEM}));
  EXPECT_EQ(read(ino, 0, 4096).err, ENOMEM);
  EXPECT_EQ(read(root() + 1000, 0, 4096).err, ESTALE);
  EXPECT_EQ(read(make_inode_number(77, 5), 0, 4096).err, ESTALE);
  EXPECT_EQ(read(root(), 0, 4096).err, EISDIR);
  must(fsdax().kill(false));
  EXPECT_EQ(read(ino, 0, 4096).err, EIO);
  must(devdax().kill(false));
  EXPECT_EQ(read(devdax().root_ino(), 0, 4096).err, ENXIO);
  EXPECT_EQ(fsdax().leases().totals().ranges, 0U);
  settle();
  EXPECT_EQ(fsdax().requests_in_flight(), 0U);
}

// --- WRITE

TEST_F(FuseFiles, WriteOfOddLengthsIsReadAgain) {
  serve();
  const uint64_t ino = make_file("file");
  std::string expected;
  for (const uint64_t offset : {uint64_t{0}, uint64_t{5}, kPageSize - 1, 2 * kPageSize + 3}) {
    for (const size_t size : {1U, 3U, 4095U, 4097U}) {
      const std::string data = pattern(size);
      const FakeReply reply = write(ino, offset, data);
      EXPECT_EQ(reply.err, 0);
      EXPECT_EQ(reply.as<fuse_write_out>().size, size);
      if (expected.size() < offset + size) expected.resize(offset + size);
      expected.replace(offset, size, data);
      ASSERT_EQ(read(ino, 0, 1 << 16).body, expected) << offset << " " << size;
    }
  }
}

TEST_F(FuseFiles, WriteBehindTheEndLeavesAHoleOfZeros) {
  serve();
  const uint64_t ino = make_file("file");
  EXPECT_EQ(write(ino, 3 * kPageSize + 1, "x").err, 0);
  EXPECT_EQ(read(ino, 0, 1 << 16).body, std::string(3 * kPageSize + 1, '\0') + "x");
}

TEST_F(FuseFiles, WriteBehindTheEndOfADeviceFileFails) {
  serve();
  const uint64_t ino = devdax().root_ino();
  const uint64_t size = devdax().record().data_bytes();
  EXPECT_EQ(write(ino, size - 2, "abcd").as<fuse_write_out>().size, 2U);
  EXPECT_EQ(read(ino, size - 2, 4096).body, "ab");
  EXPECT_EQ(write(ino, size, "a").err, ENOSPC);
  EXPECT_EQ(write(ino, uint64_t{1} << 40, "a").err, ENOSPC);
}

TEST_F(FuseFiles, WriteLendsTheCachedPagesBehindIt) {
  serve();
  const uint64_t ino = make_file("file");
  write(ino, 0, "x", FUSE_WRITE_CACHE);  // the kernel's writeback: lent before
  EXPECT_TRUE(lent(ino).empty());
  write(ino, kPageSize + 1, "x");
  EXPECT_EQ(lent(ino), (std::vector<FileRange>{{kPageSize, 2 * kPageSize}}));
}

TEST_F(FuseFiles, DyingDeviceTakesTheKernelsWritebackAlone) {
  serve();
  const uint64_t ino = make_file("file", "old");
  must(fsdax().kill(false));
  EXPECT_EQ(write(ino, 0, "new").err, EIO);
  EXPECT_EQ(fsdax().health().lost_writebacks(), 0U);
  EXPECT_EQ(write(ino, 0, "now", FUSE_WRITE_CACHE).err, 0);
  fsdax().stop_writeback();
  EXPECT_EQ(write(ino, 0, "end", FUSE_WRITE_CACHE).err, EIO);
  EXPECT_EQ(fsdax().health().lost_writebacks(), 1U);
  fsdax().resurrect();
  EXPECT_EQ(read(ino, 0, 3).body, "now");
}

// --- OPEN, RELEASE, FLUSH, FSYNC

TEST_F(FuseFiles, OpenKeepsTheCacheAndReleaseEndsTheHandle) {
  serve();
  const uint64_t ino = make_file("file");
  const FakeReply opened = kernel_.call(FUSE_OPEN, ino, bytes(fuse_open_in{O_RDWR, 0}));
  EXPECT_NE(opened.as<fuse_open_out>().open_flags & FOPEN_KEEP_CACHE, 0U);
  EXPECT_EQ(opened.as<fuse_open_out>().open_flags & FOPEN_DIRECT_IO, 0U);
  EXPECT_TRUE(fsdax().claims().has_writer(ino));
  EXPECT_EQ(fsdax().claims().handle_count(), 1U);
  const uint64_t reader = open(ino, O_RDONLY);
  release(ino, opened.as<fuse_open_out>().fh);
  EXPECT_FALSE(fsdax().claims().has_writer(ino));
  EXPECT_EQ(fsdax().claims().handle_count(), 1U);
  release(ino, reader);
  release(ino, reader);  // again: nothing happens
  release(ino, 0);
  release(make_inode_number(77, 5), reader);
  EXPECT_EQ(fsdax().claims().handle_count(), 0U);
}

TEST_F(FuseFiles, RemovedDeviceIsNotOpenedButIsReleased) {
  serve();
  const uint64_t ino = make_file("file");
  const uint64_t handle = open(ino, O_RDWR);
  must(fsdax().kill(false));
  EXPECT_EQ(kernel_.call(FUSE_OPEN, ino, bytes(fuse_open_in{O_RDWR, 0})).err, EIO);
  fsdax().stop_writeback();
  release(ino, handle);
  EXPECT_EQ(fsdax().claims().handle_count(), 0U);
}

TEST_F(FuseFiles, UserWithTooManyHandlesGetsNoMoreOfThem) {
  const uint64_t all = 65'536;
  auto charges = std::vector<UserBudget::Charge>();
  for (uint64_t i = 0; i < all; ++i) charges.push_back(budgets_.handles.charge(1234).value());
  serve();
  const uint64_t ino = make_file("file");
  kernel_.sender().uid = 1234;
  EXPECT_EQ(kernel_.call(FUSE_OPEN, ino, bytes(fuse_open_in{O_RDWR, 0})).err, EMFILE);
  fuse_create_in in = {};
  in.mode = S_IFREG | 0644;
  EXPECT_EQ(kernel_.call(FUSE_CREATE, root(), bytes(in) + name_bytes("other")).err, EMFILE);
  EXPECT_EQ(lookup(root(), "other").as<fuse_entry_out>().nodeid, 0U);  // nor is it made
  charges.pop_back();
  release(ino, open(ino, O_RDWR));
}

// The kernel asks no more then, and still writes back on close(2).
TEST_F(FuseFiles, ThereIsNoFlush) {
  serve();
  fuse_flush_in in = {};
  EXPECT_EQ(kernel_.call(FUSE_FLUSH, make_file("file"), bytes(in)).err, ENOSYS);
}

TEST_F(FuseFiles, FsyncSaysWhetherItCan) {
  serve();
  const uint64_t ino = make_file("file", "bytes");
  fuse_fsync_in in = {};
  for (const uint64_t file : {ino, devdax().root_ino(), private_memory().root_ino()}) {
    EXPECT_EQ(kernel_.call(FUSE_FSYNC, file, bytes(in)).err, 0);
  }
  in.fsync_flags = FUSE_FSYNC_FDATASYNC;
  EXPECT_EQ(kernel_.call(FUSE_FSYNC, ino, bytes(in)).err, 0);
  EXPECT_EQ(kernel_.call(FUSE_FSYNC, make_inode_number(77, 5), bytes(in)).err, ESTALE);
  must(fsdax().kill(false));
  EXPECT_EQ(kernel_.call(FUSE_FSYNC, ino, bytes(in)).err, EIO);
  must(private_memory().kill(false));
  EXPECT_EQ(kernel_.call(FUSE_FSYNC, private_memory().root_ino(), bytes(in)).err, 0);
}

}  // namespace
}  // namespace pmemd::test
