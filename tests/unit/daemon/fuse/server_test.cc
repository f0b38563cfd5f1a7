// The server and its loop: who is answered, what is no request, and how a connection ends.
#include "daemon/fuse/server.h"

#include <fcntl.h>

#include <string>
#include <vector>

#include "tests/unit/daemon/fuse/session.h"

namespace pmemd::test {
namespace {

class FuseServing : public FuseSession {
 protected:
  // READs stall from now on, until FaultPoint::disarm_all().
  static void stall_reads(uint64_t count) {
    must(FaultPoint::arm("read.begin", {.count = count, .delay = std::chrono::minutes(1)}));
  }
  static uint64_t stalled_since(uint64_t before) { return reads_hit() - before; }
  static uint64_t reads_hit() {
    for (const FaultPoint::Info& point : FaultPoint::list()) {
      if (point.name == "read.begin") return point.hits;
    }
    return 0;
  }
};

// --- who is answered

TEST_F(FuseServing, EachOfSeveralRequestsGetsItsOwnReply) {
  serve(4);
  std::string data;
  for (int page = 0; page < 16; ++page) data.append(kPageSize, static_cast<char>('a' + page));
  const uint64_t ino = make_file("file", data);
  for (int round = 0; round < 20; ++round) {
    std::vector<uint64_t> uniques;
    for (uint64_t page = 0; page < 16; ++page) {
      uniques.push_back(kernel_.send(FUSE_READ, ino, read_bytes(page * kPageSize, 3)));
    }
    for (size_t page = 16; page-- > 0;) {
      EXPECT_EQ(kernel_.reply_to(uniques[page]).body, data.substr(page * kPageSize, 3));
    }
  }
}

TEST_F(FuseServing, MoreThreadsThanThereMayBeAreAsManyAsThereMayBe) {
  serve(FuseServer::kMaxThreads + 1);
  EXPECT_FALSE(server_->nobody_reads());
  EXPECT_EQ(kernel_.call(FUSE_STATFS, FUSE_ROOT_ID).err, 0);
}

TEST_F(FuseServing, RequestsOvertakeOneThatWaits) {
  serve(4);
  const uint64_t ino = make_file("file", "bytes");
  const uint64_t before = reads_hit();
  stall_reads(2);
  const uint64_t first = kernel_.send(FUSE_READ, ino, read_bytes(0, 2));
  const uint64_t second = kernel_.send(FUSE_READ, ino, read_bytes(2, 3));
  ASSERT_TRUE(eventually([&] { return stalled_since(before) == 2; }));
  EXPECT_EQ(lookup(root(), "file").as<fuse_entry_out>().nodeid, ino);
  EXPECT_FALSE(kernel_.has_reply_to(first) || kernel_.has_reply_to(second));
  FaultPoint::disarm_all();
  EXPECT_EQ(kernel_.reply_to(second).body, "tes");
  EXPECT_EQ(kernel_.reply_to(first).body, "by");
}

TEST_F(FuseServing, ThreadThatIsWantedServesWhenAllOthersWait) {
  serve(2);
  const uint64_t ino = make_file("file", "bytes");
  const uint64_t before = reads_hit();
  stall_reads(2);
  const uint64_t first = kernel_.send(FUSE_READ, ino, read_bytes(0, 5));
  const uint64_t second = kernel_.send(FUSE_READ, ino, read_bytes(0, 5));
  ASSERT_TRUE(eventually([&] { return stalled_since(before) == 2; }));
  EXPECT_TRUE(server_->nobody_reads());
  const uint64_t third = kernel_.send(FUSE_STATFS, FUSE_ROOT_ID);
  EXPECT_FALSE(kernel_.has_reply_to(third));
  EXPECT_TRUE(server_->want_thread());
  EXPECT_EQ(kernel_.reply_to(third).err, 0);
  FaultPoint::disarm_all();
  EXPECT_EQ(kernel_.reply_to(first).body, "bytes");
  EXPECT_EQ(kernel_.reply_to(second).body, "bytes");
}

// --- INTERRUPT: nothing of ours can be interrupted; the request is answered as ever.

TEST_F(FuseServing, InterruptedRequestIsAnsweredOnce) {
  serve(4);
  const uint64_t ino = make_file("file", "bytes");
  const uint64_t before = reads_hit();
  stall_reads(1);
  const uint64_t unique = kernel_.send(FUSE_READ, ino, read_bytes(0, 5));
  ASSERT_TRUE(eventually([&] { return stalled_since(before) == 1; }));
  const uint64_t interrupt =
      kernel_.send(FUSE_INTERRUPT, 0, bytes(fuse_interrupt_in{.unique = unique}));
  settle();
  FaultPoint::disarm_all();
  EXPECT_EQ(kernel_.reply_to(unique).body, "bytes");
  settle();
  EXPECT_FALSE(kernel_.has_reply_to(interrupt));  // it found its request
  EXPECT_TRUE(eventually([&] { return fsdax().requests_in_flight() == 0; }));
}

// The kernel is asked to send it again, and finds out that there is nothing left to interrupt.
TEST_F(FuseServing, InterruptOfARequestThatIsOverIsSentBack) {
  serve();
  const uint64_t ino = make_file("file", "bytes");
  const uint64_t unique = kernel_.send(FUSE_READ, ino, read_bytes(0, 5));
  EXPECT_EQ(kernel_.reply_to(unique).body, "bytes");
  const uint64_t interrupt =
      kernel_.send(FUSE_INTERRUPT, 0, bytes(fuse_interrupt_in{.unique = unique}));
  settle();
  EXPECT_EQ(kernel_.reply_to(interrupt).err, EAGAIN);
  EXPECT_EQ(read(ino, 0, 5).body, "bytes");
}

// --- what is no request

TEST_F(FuseServing, OpcodesThatAreNotServedGetENOSYS) {
  serve();
  const std::string body(128, '\0');
  for (const uint32_t opcode :
       {0U, 7U, 19U, uint32_t{FUSE_GETLK}, uint32_t{FUSE_SETLK}, uint32_t{FUSE_ACCESS},
        uint32_t{FUSE_BMAP}, uint32_t{FUSE_SETUPMAPPING}, uint32_t{FUSE_SYNCFS}, 52U, 100U, 4095U,
        uint32_t{CUSE_INIT} + 1, 1U << 20, UINT32_MAX}) {
    EXPECT_EQ(kernel_.call(opcode, root(), body).err, ENOSYS) << opcode;
  }
  EXPECT_EQ(context_.requests.by_kind().front().first, "OTHER");
  settle();
}

TEST_F(FuseServing, RequestThatIsNotAsLongAsItSaysFails) {
  serve();
  const std::string body = name_bytes("pmem0");
  for (const int off : {-100, -47, -1, 1, 40, 1 << 20}) {
    fuse_in_header head = kernel_.header(FUSE_LOOKUP, FUSE_ROOT_ID, body.size());
    head.len += static_cast<uint32_t>(off);
    kernel_.send_raw(bytes(head) + body, head.unique);
    EXPECT_EQ(kernel_.reply_to(head.unique).err, EIO) << off;
  }
  EXPECT_EQ(fsdax().lookups().counts().size(), 0U);
  settle();
}

// libfuse takes what is missing from the request before, which is one of zeros here.
TEST_F(FuseServing, RequestWithTooShortOrTooLongABodyIsAnswered) {
  serve();
  for (uint32_t opcode = 1; opcode < 52; ++opcode) {
    if (opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_NOTIFY_REPLY ||
        opcode == FUSE_INTERRUPT || opcode == FUSE_DESTROY) {
      continue;  // they have no reply, or end the session
    }
    for (const size_t size : {0, 1, 8, 5000}) {
      EXPECT_EQ(kernel_.call(0, root(), std::string(1000, '\0')).err, ENOSYS);
      (void)kernel_.call(opcode, root(), std::string(size, '\0'));
    }
  }
  settle();
  EXPECT_EQ(fsdax().requests_in_flight(), 0U);
}

// Nobody is there to be answered.
TEST_F(FuseServing, MessageWithoutAWholeHeaderIsPassedOver) {
  serve();
  const std::string head = bytes(kernel_.header(FUSE_LOOKUP, FUSE_ROOT_ID, 0));
  for (const size_t size : {size_t{1}, size_t{4}, head.size() - 1}) {
    kernel_.send_raw(head.substr(0, size));
  }
  settle();
  EXPECT_EQ(lost_, 0);
}

// --- the end

TEST_F(FuseServing, LostConnectionIsToldOnce) {
  serve(4);
  end_connection();
  server_->stop();
  EXPECT_EQ(lost_, 1);
  EXPECT_FALSE(server_->want_thread());
}

TEST_F(FuseServing, ConnectionWhoseEndIsExpectedIsNotLost) {
  serve(4);
  server_->expect_end();
  kernel_.hang_up();
  server_->stop();
  EXPECT_EQ(lost_, 0);
}

TEST_F(FuseServing, StopEndsThreadsThatReadAndThatAreParked) {
  serve(4);
  for (uint32_t i = 0; i < 4 * RequestReaders::kShortInARow; ++i) settle();
  server_->stop();  // the connection is there still
  EXPECT_EQ(lost_, 0);
}

TEST_F(FuseServing, StopWaitsForTheRequestUnderWay) {
  serve(4);
  const uint64_t ino = make_file("file", "bytes");
  const uint64_t before = reads_hit();
  stall_reads(1);
  const uint64_t unique = kernel_.send(FUSE_READ, ino, read_bytes(0, 5));
  ASSERT_TRUE(eventually([&] { return stalled_since(before) == 1; }));
  std::thread other([] { FaultPoint::disarm_all(); });
  server_->stop();
  other.join();
  EXPECT_EQ(kernel_.reply_to(unique).body, "bytes");
  EXPECT_EQ(fsdax().requests_in_flight(), 0U);
}

TEST_F(FuseServing, DescriptorThatIsNotOpenIsRefused) {
  EXPECT_EQ(FuseServer::create(context_, UniqueFd()).err(), EINVAL);
}

}  // namespace
}  // namespace pmemd::test
