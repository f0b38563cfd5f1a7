// Replies that the kernel doesn't take: its process was killed, or the connection ends. What they
// would have told of isn't counted.
#include <fcntl.h>

#include <string>

#include "client/pmemd_ioctl.h"
#include "tests/unit/daemon/fuse/session.h"

namespace pmemd::test {
namespace {

class FuseLostReply : public FuseSession {
 protected:
  FuseLostReply() { serve(); }

  // Sends what nobody hears the answer to, and waits until all has ended.
  void lose(uint32_t opcode, uint64_t nodeid, const std::string& body) {
    kernel_.stop_listening();
    kernel_.send(opcode, nodeid, body);
    end_connection();
    EXPECT_EQ(fsdax().requests_in_flight(), 0U);
  }
  std::string create_bytes(const char* name) {
    fuse_create_in in = {};
    in.flags = O_RDWR;
    in.mode = S_IFREG | 0644;
    return bytes(in) + name_bytes(name);
  }
};

TEST_F(FuseLostReply, OfALookupIsNotCounted) {
  const uint64_t ino = make_file("file");
  lose(FUSE_LOOKUP, root(), name_bytes("file"));
  EXPECT_TRUE(fsdax().lookups().counts().is_known(ino));  // by its CREATE
  fsdax().lookups().forget(ino, 1);
  EXPECT_FALSE(fsdax().lookups().counts().is_known(ino));
}

TEST_F(FuseLostReply, OfAnOpenLeavesNoHandle) {
  lose(FUSE_OPEN, make_file("file"), bytes(fuse_open_in{O_RDWR, 0}));
  EXPECT_EQ(fsdax().claims().handle_count(), 0U);
}

TEST_F(FuseLostReply, OfAnOpendirLeavesNoHandle) {
  lose(FUSE_OPENDIR, root(), bytes(fuse_open_in{}));
  EXPECT_EQ(fsdax().claims().handle_count(), 0U);
}

TEST_F(FuseLostReply, OfACreateLeavesNeitherHandleNorLookup) {
  lose(FUSE_CREATE, root(), create_bytes("file"));
  EXPECT_EQ(fsdax().claims().handle_count(), 0U);
  EXPECT_EQ(fsdax().lookups().counts().size(), 0U);
}

TEST_F(FuseLostReply, OfALinkIsNotCounted) {
  const uint64_t ino = make_file("file");
  lose(FUSE_LINK, root(), bytes(fuse_link_in{ino}) + name_bytes("other"));
  EXPECT_EQ(must(must(fsdax().admit(Admission::kRequest)).fs().getattr(ino)).nlink, 2U);
  fsdax().lookups().forget(ino, 1);
  EXPECT_FALSE(fsdax().lookups().counts().is_known(ino));
}

TEST_F(FuseLostReply, OfATmpfileLeavesNothing) {
  const auto free_inodes = [&] {
    return must(must(fsdax().admit(Admission::kRequest)).fs().statfs()).f_ffree;
  };
  const auto before = free_inodes();
  lose(FUSE_TMPFILE, root(), create_bytes("/"));
  EXPECT_EQ(fsdax().claims().handle_count(), 0U);
  EXPECT_EQ(fsdax().lookups().counts().size(), 0U);
  EXPECT_EQ(free_inodes(), before);
}

TEST_F(FuseLostReply, OfAReaddirplusIsNotCounted) {
  fsdax().lookups().forget(make_file("file"), 1);
  lose(FUSE_READDIRPLUS, root(), read_bytes(0, 4096));
  EXPECT_EQ(fsdax().lookups().counts().size(), 0U);
}

// The lease stays, since an earlier READ may have lent the same; a removal takes it back.
TEST_F(FuseLostReply, OfAReadLeavesNothingThatHoldsADeviceUp) {
  const uint64_t ino = make_file("file", std::string(kPageSize, 'a'));
  lose(FUSE_READ, ino, read_bytes(0, kPageSize));
  EXPECT_EQ(fsdax().references().held(), fsdax().leases().totals().ranges);
  fsdax().lookups().forget(ino, 1);
  EXPECT_EQ(fsdax().references().held(), 0U);
  must(fsdax().kill(true));  // idle
  fsdax().stop_writeback();
  must(fsdax().release(deadline_after(std::chrono::seconds(10))));
}

TEST_F(FuseLostReply, OfAWriteLeavesWhatWasWritten) {
  const uint64_t ino = make_file("file");
  lose(FUSE_WRITE, ino, write_bytes(0, "bytes"));
  EXPECT_EQ(must(read_from(fsdax(), ino, {0, 5})), "bytes");
}

// Whoever has the descriptor, too, reads it then.
TEST_F(FuseLostReply, OfAnEventPutsItBack) {
  const uint64_t ino = make_file("file", std::string(kPageSize, 'a'));
  const uint64_t handle = open(ino, O_RDWR);
  must(fsdax().handles().register_mapping(handle, getpid(), {0, kPageSize}, kMiB));
  MapperEvents& events = fsdax().handles().events();
  ASSERT_EQ(events.tell(ino, {0, kPageSize}, MapperNotice{}), 1U);
  fuse_ioctl_in in = {};
  in.fh = handle;
  in.cmd = PMEMD_IOC_READ_EVENT;
  in.out_size = sizeof(pmemd_event);
  lose(FUSE_IOCTL, ino, bytes(in));
  EXPECT_TRUE(events.read(handle).has_value());
  EXPECT_FALSE(events.read(handle).has_value());
}

}  // namespace
}  // namespace pmemd::test
