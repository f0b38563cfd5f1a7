// What the daemon and a kernel agree on (FUSE_INIT).
#include <fcntl.h>

#include <string>
#include <utility>

#include "tests/unit/daemon/fuse/session.h"

namespace pmemd::test {
namespace {

constexpr uint32_t kLastOpcode = 60;  // behind the last that has a name

class FuseInit : public FuseSession {
 protected:
  FakeReply init(const fuse_init_in& in) { return kernel_.call(FUSE_INIT, 0, bytes(in)); }
};

fuse_init_in init_of(uint32_t major, uint32_t minor) {
  fuse_init_in in = {};
  in.major = major;
  in.minor = minor;
  return in;
}

TEST_F(FuseInit, KernelOfTodayGetsWhatWeWantOfIt) {
  start();
  const FakeReply reply = init(init_of_today());
  ASSERT_EQ(reply.err, 0);
  ASSERT_EQ(reply.body.size(), sizeof(fuse_init_out));
  const auto out = reply.as<fuse_init_out>();
  EXPECT_EQ(out.major, 7U);
  EXPECT_EQ(out.max_write, 1U << 20);
  EXPECT_EQ(out.max_pages, 256);  // of max_write
  EXPECT_EQ(out.max_background, 64);
  EXPECT_EQ(out.time_gran, 1U);
  const uint32_t wanted = FUSE_ASYNC_READ | FUSE_EXPORT_SUPPORT | FUSE_BIG_WRITES | FUSE_DONT_MASK |
                          FUSE_DO_READDIRPLUS | FUSE_POSIX_ACL | FUSE_MAX_PAGES |
                          FUSE_CACHE_SYMLINKS | FUSE_EXPLICIT_INVAL_DATA;
  EXPECT_EQ(out.flags & wanted, wanted);
}

// Each would lose pages, which are the memory, or have the daemon keep locks, or wait for itself.
TEST_F(FuseInit, WhatWouldHarmIsRefused) {
  start();
  const uint32_t harmful = FUSE_AUTO_INVAL_DATA | FUSE_ATOMIC_O_TRUNC | FUSE_HANDLE_KILLPRIV |
                           FUSE_HANDLE_KILLPRIV_V2 | FUSE_FLOCK_LOCKS | FUSE_POSIX_LOCKS |
                           FUSE_WRITEBACK_CACHE | FUSE_ASYNC_DIO | FUSE_SPLICE_READ |
                           FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE;
  EXPECT_EQ(init(init_of_today()).as<fuse_init_out>().flags & harmful, 0U);
}

TEST_F(FuseInit, KernelThatOffersNothingIsAskedForNothing) {
  start();
  const FakeReply reply = init(init_of(7, 38));
  ASSERT_EQ(reply.err, 0);
  const auto out = reply.as<fuse_init_out>();
  EXPECT_EQ(out.flags & ~uint32_t{FUSE_BIG_WRITES}, 0U);
  EXPECT_EQ(out.flags2, 0U);
  EXPECT_EQ(out.max_pages, 0);
  EXPECT_EQ(out.max_write, 1U << 20);  // it takes less than that of its own accord
  EXPECT_EQ(kernel_.call(FUSE_STATFS, FUSE_ROOT_ID).err, 0);
}

// The kernel takes the smaller of its own readahead and ours; bdi/read_ahead_kb raises its own.
TEST_F(FuseInit, ReadaheadDoesNotDependOnWhatIsOffered) {
  for (const uint32_t offered : {0U, 4097U, 128U << 10, UINT32_MAX}) {
    FakeKernel kernel;
    const auto server = must(FuseServer::create(context_, kernel.take_connection()));
    server->start(1);
    fuse_init_in in = init_of_today();
    in.max_readahead = offered;
    const auto out = kernel.call(FUSE_INIT, 0, bytes(in)).as<fuse_init_out>();
    EXPECT_EQ(out.max_readahead, 2U << 20) << offered;
    EXPECT_EQ(out.max_write, 1U << 20) << offered;
    server->stop();
  }
}

TEST_F(FuseInit, OldKernelsGetTheReplyTheyKnow) {
  const std::pair<uint32_t, size_t> sizes[] = {{4, FUSE_COMPAT_INIT_OUT_SIZE},
                                               {5, FUSE_COMPAT_22_INIT_OUT_SIZE},
                                               {22, FUSE_COMPAT_22_INIT_OUT_SIZE},
                                               {23, sizeof(fuse_init_out)}};
  for (const auto& [minor, size] : sizes) {
    FakeKernel kernel;
    const auto server = must(FuseServer::create(context_, kernel.take_connection()));
    server->start(1);
    const size_t old_size = offsetof(fuse_init_in, flags2);  // it was that long up to minor 35
    const std::string in = bytes(init_of(7, minor)).substr(0, old_size);
    const FakeReply reply = kernel.call(FUSE_INIT, 0, in);
    EXPECT_EQ(reply.err, 0) << minor;
    EXPECT_EQ(reply.body.size(), size) << minor;
    EXPECT_EQ(reply.as<fuse_init_out>().major, 7U) << minor;
    server->stop();
  }
}

TEST_F(FuseInit, KernelOfAnotherMajorIsToldOursOrRefused) {
  start();
  EXPECT_EQ(init(init_of(6, 1)).err, EPROTO);
  const FakeReply newer = init(init_of(8, 0));
  EXPECT_EQ(newer.err, 0);
  EXPECT_EQ(newer.as<fuse_init_out>().major, 7U);
  EXPECT_EQ(init(init_of_today()).err, 0);  // which it says then
}

TEST_F(FuseInit, NothingIsServedBeforeIt) {
  start();
  EXPECT_EQ(kernel_.call(FUSE_STATFS, FUSE_ROOT_ID).err, EIO);
  EXPECT_EQ(lookup(FUSE_ROOT_ID, "pmem0").err, EIO);
  EXPECT_EQ(fsdax().lookups().counts().size(), 0U);
  EXPECT_EQ(init(init_of_today()).err, 0);
  EXPECT_EQ(lookup(FUSE_ROOT_ID, "pmem0").err, 0);
}

// TMPFILE, which libfuse doesn't see, is one of them.
TEST_F(FuseInit, NoKindOfRequestIsServedBeforeIt) {
  const auto free_inodes = [this] {
    return must(must(fsdax().admit(Admission::kRequest)).fs().statfs()).f_ffree;
  };
  const auto before = free_inodes();
  start();
  fuse_create_in in = {};
  in.flags = O_RDWR;
  in.mode = S_IFREG | 0600;
  const std::string body = bytes(in) + name_bytes("name") + name_bytes("other");
  for (uint32_t opcode = 1; opcode <= kLastOpcode; ++opcode) {
    if (opcode == FUSE_INIT) continue;
    // A FORGET, too, has a reply then.
    const fuse_in_header head = kernel_.header(opcode, root(), body.size());
    kernel_.send_raw(bytes(head) + body, head.unique);
    const FakeReply reply = kernel_.reply_to(head.unique);
    EXPECT_EQ(reply.err, EIO) << opcode;
    EXPECT_EQ(reply.body, "") << opcode;
  }
  EXPECT_EQ(init(init_of(8, 0)).err, 0);  // isn't one yet
  EXPECT_EQ(kernel_.call(FUSE_TMPFILE, root(), body).err, EIO);
  EXPECT_EQ(fsdax().lookups().counts().size(), 0U);
  EXPECT_EQ(fsdax().claims().handle_count(), 0U);
  EXPECT_EQ(free_inodes(), before);
  EXPECT_EQ(init(init_of_today()).err, 0);
  EXPECT_EQ(kernel_.call(FUSE_TMPFILE, root(), body).err, 0);
}

TEST_F(FuseInit, SecondOneIsRefused) {
  serve();
  EXPECT_EQ(init(init_of_today()).err, EIO);
  settle();
}

}  // namespace
}  // namespace pmemd::test
