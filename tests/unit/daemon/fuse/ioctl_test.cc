// ioctl(2) and poll(2) over the wire: whose call it is, what it may do, what it takes and gives.
#include <fcntl.h>
#include <poll.h>

#include <string>

#include "client/pmemd_ioctl.h"
#include "core/base/units.h"
#include "tests/unit/daemon/fuse/session.h"

namespace pmemd::test {
namespace {

class FuseIoctl : public FuseSession {
 protected:
  FuseIoctl() {
    serve();
    ino_ = make_file("file", std::string(4 * kPageSize, 'a'));
    handle_ = open(ino_, O_RDWR);
  }

  // One that takes a structure and gives it back, filled in.
  template <class T>
  FakeReply ask(uint32_t command, const T& in) {
    return ioctl(ino_, handle_, command, bytes(in), sizeof(in));
  }
  // One that only takes.
  template <class T>
  int tell(uint32_t command, const T& in) {
    return ioctl(ino_, handle_, command, bytes(in), 0).err;
  }
  template <class T>
  static T given(const FakeReply& reply) {
    EXPECT_EQ(reply.err, 0);
    EXPECT_EQ(reply.as<fuse_ioctl_out>().result, 0);
    EXPECT_EQ(reply.body.size(), sizeof(fuse_ioctl_out) + sizeof(T));
    return reply.as<T>(sizeof(fuse_ioctl_out));
  }
  FakeReply poll(uint32_t events, uint64_t kernels_handle = kPollHandle) {
    fuse_poll_in in = {};
    in.fh = handle_;
    in.kh = kernels_handle;
    in.flags = FUSE_POLL_SCHEDULE_NOTIFY;
    in.events = events;
    return kernel_.call(FUSE_POLL, ino_, bytes(in));
  }
  uint64_t tell_mappers(uint64_t seq) {
    return fsdax().handles().events().tell(ino_, {0, kPageSize}, MapperNotice{.seq = seq});
  }

  static constexpr uint64_t kPollHandle = 4711;
  uint64_t ino_ = 0;
  uint64_t handle_ = 0;
};

TEST_F(FuseIoctl, PinHoldsItsRangeUntilUnpin) {
  const auto pin =
      given<pmemd_pin>(ask(PMEMD_IOC_PIN, pmemd_pin{.offset = 0, .length = kPageSize, .id = 0}));
  EXPECT_NE(pin.id, 0U);
  EXPECT_TRUE(fsdax().claims().is_pinned(ino_, {0, kPageSize}));
  EXPECT_FALSE(fsdax().claims().is_pinned(ino_, {kPageSize, 4 * kPageSize}));
  EXPECT_EQ(tell(PMEMD_IOC_UNPIN, pin.id + 1), ENOENT);
  EXPECT_EQ(tell(PMEMD_IOC_UNPIN, pin.id), 0);
  EXPECT_EQ(tell(PMEMD_IOC_UNPIN, pin.id), ENOENT);
  EXPECT_FALSE(fsdax().claims().is_pinned(ino_, {0, 4 * kPageSize}));
}

TEST_F(FuseIoctl, RangeMustLieInTheFile) {
  for (const auto& [offset, length] : {std::pair<uint64_t, uint64_t>{0, 0},
                                       {0, 4 * kPageSize + 1},
                                       {4 * kPageSize, 1},
                                       {1, UINT64_MAX},
                                       {UINT64_MAX, 1}}) {
    EXPECT_EQ(ask(PMEMD_IOC_PIN, pmemd_pin{offset, length, 0}).err, EINVAL) << offset;
    EXPECT_EQ(ask(PMEMD_IOC_QUERY, pmemd_query{offset, length}).err, EINVAL) << offset;
  }
}

TEST_F(FuseIoctl, WhatChangesTheFileForOthersWantsAWriter) {
  handle_ = open(ino_, O_RDONLY);
  EXPECT_EQ(ask(PMEMD_IOC_PIN, pmemd_pin{0, kPageSize, 0}).err, EBADF);
  EXPECT_EQ(ask(PMEMD_IOC_MAP, pmemd_mapping{0, kPageSize, kMiB, 0}).err, 0);
  handle_ = 0;  // none
  EXPECT_EQ(ask(PMEMD_IOC_PIN, pmemd_pin{0, kPageSize, 0}).err, EBADF);
  EXPECT_EQ(ask(PMEMD_IOC_MAP, pmemd_mapping{0, kPageSize, kMiB, 0}).err, EBADF);
}

TEST_F(FuseIoctl, CallerThatCannotBeSeenGetsNothing) {
  kernel_.sender().pid = 0;  // of another pid namespace
  EXPECT_EQ(ask(PMEMD_IOC_PIN, pmemd_pin{0, kPageSize, 0}).err, ESRCH);
  EXPECT_FALSE(fsdax().claims().is_pinned(ino_, {0, kPageSize}));
}

TEST_F(FuseIoctl, UnknownCommandsAndFilesAreNotOurs) {
  const uint64_t value = 0;
  EXPECT_EQ(tell(_IOW(PMEMD_IOCTL_MAGIC, 99, uint64_t), value), ENOTTY);
  EXPECT_EQ(tell(0x5401 /* TCGETS */, value), ENOTTY);
  EXPECT_EQ(ask(PMEMD_IOC_MIGRATE, pmemd_migrate{0, kPageSize, 0}).err, ENOTTY);
  EXPECT_EQ(ask(PMEMD_IOC_P2P_ALLOC, pmemd_p2p_alloc{kPageSize, 0}).err, ENOTTY);
  EXPECT_EQ(tell(PMEMD_IOC_P2P_FREE, value), ENOTTY);
  handle_ = open(ino_, O_RDONLY);
  EXPECT_EQ(ask(PMEMD_IOC_MIGRATE, pmemd_migrate{0, kPageSize, 0}).err, ENOTTY);
  ino_ = private_memory().root_ino();
  handle_ = open(ino_, O_RDONLY);
  EXPECT_EQ(ask(PMEMD_IOC_MIGRATE, pmemd_migrate{0, kPageSize, 0}).err, EBADF);
  EXPECT_EQ(ioctl(make_inode_number(77, 5), 1, PMEMD_IOC_INFO, {}, sizeof(pmemd_info)).err, ENOTTY);
}

// The kernel copies what the command's number says; a caller that lies gets no further than that.
TEST_F(FuseIoctl, ArgumentThatIsTooShortIsFilledUpWithZeros) {
  const std::string half = bytes(pmemd_pin{0, kPageSize, 0}).substr(0, 8);
  EXPECT_EQ(ioctl(ino_, handle_, PMEMD_IOC_PIN, half, sizeof(pmemd_pin)).err, EINVAL);
  EXPECT_EQ(ioctl(ino_, handle_, PMEMD_IOC_PIN, {}, sizeof(pmemd_pin)).err, EINVAL);
}

TEST_F(FuseIoctl, QueryTellsWhatIsKnownToBeBadOrWasTouched) {
  ino_ = devdax().root_ino();
  handle_ = open(ino_, O_RDONLY);
  const auto first_bad = [&] {
    return given<pmemd_query>(ask(PMEMD_IOC_QUERY, pmemd_query{100, 4 * kPageSize}));
  };
  EXPECT_EQ(first_bad().length, 0U);
  const RegionRange latent =
      devdax().record().of_namespace().in_region({kPageSize, kPageSize + 512});
  const RegionRange known =
      devdax().record().of_namespace().in_region({3 * kPageSize, 3 * kPageSize + 512});
  must(devdax().memory().media_errors().value()->inject({latent, known}, {known}));
  EXPECT_EQ(first_bad().offset, 3 * kPageSize);
  EXPECT_EQ(first_bad().length, 512U);
  EXPECT_EQ(read(ino_, kPageSize, kPageSize).err, EIO);
  EXPECT_EQ(first_bad().offset, kPageSize);
  EXPECT_EQ(devdax().leases().totals().ranges, 0U);
}

TEST_F(FuseIoctl, InfoWorksOnARemovedDevice) {
  must(fsdax().kill(false));
  EXPECT_EQ(ask(PMEMD_IOC_QUERY, pmemd_query{0, 1}).err, EIO);
  const auto info = given<pmemd_info>(ioctl(ino_, handle_, PMEMD_IOC_INFO, {}, sizeof(pmemd_info)));
  EXPECT_EQ(info.version, 1U);
  EXPECT_NE(info.flags & PMEMD_INFO_SYNC, 0U);
}

TEST_F(FuseIoctl, InfoTellsWhatAMapperCanRelyOn) {
  const auto flags_of = [&](Device& device) {
    const auto reply = ioctl(device.root_ino(), handle_, PMEMD_IOC_INFO, {}, sizeof(pmemd_info));
    return given<pmemd_info>(reply).flags & (PMEMD_INFO_SYNC | PMEMD_INFO_HOLDER);
  };
  EXPECT_EQ(flags_of(fsdax()), PMEMD_INFO_SYNC | PMEMD_INFO_HOLDER);
  EXPECT_EQ(flags_of(devdax()), PMEMD_INFO_SYNC);
  EXPECT_EQ(flags_of(private_memory()), 0U);
  EXPECT_EQ(flags_of(p2p()), 0U);
}

TEST_F(FuseIoctl, MigrateIsAnsweredByTheWorker) {
  ino_ = private_memory().root_ino();
  handle_ = open(ino_, O_RDWR);
  EXPECT_EQ(ask(PMEMD_IOC_PIN, pmemd_pin{0, kPageSize, 0}).err, EOPNOTSUPP);
  write(ino_, 0, std::string(2 * kPageSize, 'm'));
  const auto gone =
      given<pmemd_migrate>(ask(PMEMD_IOC_MIGRATE, pmemd_migrate{0, 2 * kPageSize, 0}));
  EXPECT_EQ(gone.pages, 2U);
  EXPECT_EQ(read(ino_, kPageSize - 1, 2).body, "mm");  // they come back
  EXPECT_EQ(ask(PMEMD_IOC_MIGRATE, pmemd_migrate{1, kPageSize, 0}).err, EINVAL);
}

TEST_F(FuseIoctl, BufferOfAP2pPoolIsReadAndWrittenUntilItIsFreed) {
  ino_ = p2p().root_ino();
  handle_ = open(ino_, O_RDWR);
  EXPECT_EQ(read(ino_, 0, 1).err, EIO);  // in no buffer
  EXPECT_EQ(write(ino_, 0, "x").err, EIO);
  const auto buffer =
      given<pmemd_p2p_alloc>(ask(PMEMD_IOC_P2P_ALLOC, pmemd_p2p_alloc{kPageSize, 0}));
  EXPECT_EQ(write(ino_, buffer.offset, "x").err, 0);
  EXPECT_EQ(read(ino_, buffer.offset, 2).body, std::string("x\0", 2));
  EXPECT_EQ(tell(PMEMD_IOC_P2P_FREE, buffer.offset + 1), ENOENT);
  EXPECT_EQ(tell(PMEMD_IOC_P2P_FREE, uint64_t{buffer.offset}), 0);
  EXPECT_EQ(read(ino_, buffer.offset, 2).err, EIO);
}

TEST_F(FuseIoctl, AFreeThatFindsNoPlaceInTheQueueChangesNothing) {
  ino_ = p2p().root_ino();
  handle_ = open(ino_, O_RDWR);
  const auto buffer =
      given<pmemd_p2p_alloc>(ask(PMEMD_IOC_P2P_ALLOC, pmemd_p2p_alloc{kPageSize, 0}));
  std::vector<UserBudget::Charge> taken;
  while (auto charge = budgets_.work.charge(::getuid())) taken.push_back(*std::move(charge));
  EXPECT_EQ(tell(PMEMD_IOC_P2P_FREE, uint64_t{buffer.offset}), EAGAIN);
  EXPECT_EQ(write(ino_, buffer.offset, "x").err, 0) << "it is still a buffer";
  taken.clear();
  EXPECT_EQ(tell(PMEMD_IOC_P2P_FREE, uint64_t{buffer.offset}), 0);
}

// --- events

TEST_F(FuseIoctl, EventsAreReadInTheirOrder) {
  const auto mapping =
      given<pmemd_mapping>(ask(PMEMD_IOC_MAP, pmemd_mapping{0, 2 * kPageSize, kMiB, 0}));
  EXPECT_EQ(tell_mappers(7), 1U);
  EXPECT_EQ(tell_mappers(8), 1U);
  for (const uint64_t seq : {7U, 8U}) {
    const auto event =
        given<pmemd_event>(ioctl(ino_, handle_, PMEMD_IOC_READ_EVENT, {}, sizeof(pmemd_event)));
    EXPECT_EQ(event.seq, seq);
    EXPECT_EQ(event.kind, uint32_t{PMEMD_EVENT_POISON});
    EXPECT_EQ(event.id, mapping.id);
    EXPECT_EQ(event.length, kPageSize);
    EXPECT_EQ(event.address, kMiB);
  }
  EXPECT_EQ(ioctl(ino_, handle_, PMEMD_IOC_READ_EVENT, {}, sizeof(pmemd_event)).err, EAGAIN);
  EXPECT_EQ(tell(PMEMD_IOC_ANSWER, pmemd_answer{7, mapping.id, PMEMD_ANSWER_DONE, 0}), ENOENT);
  EXPECT_EQ(tell(PMEMD_IOC_ANSWER, pmemd_answer{7, mapping.id, 99, 0}), EINVAL);
}

TEST_F(FuseIoctl, PollIsToldOfTheNextEventOnce) {
  ask(PMEMD_IOC_MAP, pmemd_mapping{0, kPageSize, kMiB, 0});
  EXPECT_EQ(poll(POLLPRI | POLLIN).as<fuse_poll_out>().revents & (POLLPRI | POLLIN),
            uint32_t{POLLIN});
  tell_mappers(1);
  const FakeReply woken = kernel_.notification();
  EXPECT_EQ(woken.err, FUSE_NOTIFY_POLL);
  EXPECT_EQ(woken.as<fuse_notify_poll_wakeup_out>().kh, kPollHandle);
  EXPECT_NE(poll(POLLPRI).as<fuse_poll_out>().revents & POLLPRI, 0U);
  tell_mappers(2);
  EXPECT_EQ(kernel_.notification().err, FUSE_NOTIFY_POLL);
}

TEST_F(FuseIoctl, PollForOtherThingsIsNotToldOfEvents) {
  ask(PMEMD_IOC_MAP, pmemd_mapping{0, kPageSize, kMiB, 0});
  EXPECT_NE(poll(POLLIN).as<fuse_poll_out>().revents & POLLIN, 0U);
  EXPECT_EQ(tell_mappers(1), 1U);
  // Another one, who is told: wakeups don't overtake each other.
  handle_ = open(ino_, O_RDONLY);
  ask(PMEMD_IOC_MAP, pmemd_mapping{0, kPageSize, kMiB, 0});
  poll(POLLPRI, kPollHandle + 1);
  EXPECT_EQ(tell_mappers(2), 2U);
  EXPECT_EQ(kernel_.notification().as<fuse_notify_poll_wakeup_out>().kh, kPollHandle + 1);
}

}  // namespace
}  // namespace pmemd::test
