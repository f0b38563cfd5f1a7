// What the notifier sends the kernel, and what it makes of the kernel's answers.
#include "daemon/kernel/kernel_notifier.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "tests/unit/daemon/fuse/session.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd::test {
namespace {

// --- over the fake kernel

class Notifier : public FuseSession {
 protected:
  // Its mount point is a directory of the host's, which isn't the session's mount.
  std::unique_ptr<KernelNotifier> make_notifier() {
    return std::make_unique<KernelNotifier>(server_->session(), host_.path(), dev_t{0});
  }
  void expect_inval(uint64_t ino, int64_t offset, int64_t length) {
    const FakeReply sent = kernel_.notification();
    EXPECT_EQ(sent.err, FUSE_NOTIFY_INVAL_INODE);
    ASSERT_EQ(sent.body.size(), sizeof(fuse_notify_inval_inode_out));
    const auto out = sent.as<fuse_notify_inval_inode_out>();
    EXPECT_EQ(out.ino, ino);
    EXPECT_EQ(out.off, offset);
    EXPECT_EQ(out.len, length);
  }
  void expect_name_gone(const std::string& name) {
    const FakeReply sent = kernel_.notification();
    EXPECT_EQ(sent.err, FUSE_NOTIFY_INVAL_ENTRY);
    const auto out = sent.as<fuse_notify_inval_entry_out>();
    EXPECT_EQ(out.parent, uint64_t{FUSE_ROOT_ID});
    EXPECT_EQ(out.namelen, name.size());
    EXPECT_EQ(out.flags, 0U);
    EXPECT_EQ(sent.body.substr(sizeof(out)), name_bytes(name));
    expect_inval(FUSE_ROOT_ID, -1, 0);  // its attributes alone
  }

  const TemporaryDirectory host_;
};

TEST_F(Notifier, InvalOfARangeNamesItsBytes) {
  serve();
  const auto notifier = make_notifier();
  const uint64_t ino = make_inode_number(3, 7);
  EXPECT_TRUE(notifier->inval(ino, {kPageSize, 3 * kPageSize}));
  expect_inval(ino, kPageSize, 2 * kPageSize);
  EXPECT_TRUE(notifier->inval(ino, {0, 1}));
  expect_inval(ino, 0, 1);
  EXPECT_TRUE(notifier->inval(ino, {kPageSize, kWholeFile.end}));
  expect_inval(ino, kPageSize, INT64_MAX - static_cast<int64_t>(kPageSize));
}

// Length 0 is the kernel's word for "to the end".
TEST_F(Notifier, InvalOfAWholeFileGoesToItsEnd) {
  serve();
  const auto notifier = make_notifier();
  EXPECT_TRUE(notifier->inval(root(), kWholeFile));
  expect_inval(root(), 0, 0);
}

TEST_F(Notifier, InvalWaitsUntilTheKernelTakesIt) {
  serve();
  const auto notifier = make_notifier();
  kernel_.jam();
  auto waiting =
      std::async(std::launch::async, [&] { return notifier->inval(root(), {0, kPageSize}); });
  expect_inval(root(), 0, kPageSize);
  EXPECT_TRUE(waiting.get());
}

TEST_F(Notifier, CallsOfSeveralThreadsAreSentOneByOne) {
  serve();
  const auto notifier = make_notifier();
  constexpr uint64_t kThreads = 8;
  std::vector<std::future<Result<void>>> waiting;
  for (uint64_t i = 0; i < kThreads; ++i) {
    waiting.push_back(
        std::async(std::launch::async, [&, i] { return notifier->inval(root() + i, {i, i + 1}); }));
  }
  for (auto& one : waiting) EXPECT_TRUE(one.get());
  std::vector<uint64_t> told;
  for (uint64_t i = 0; i < kThreads; ++i) {
    const auto out = kernel_.notification().as<fuse_notify_inval_inode_out>();
    EXPECT_EQ(out.off, static_cast<int64_t>(out.ino - root()));
    told.push_back(out.ino - root());
  }
  EXPECT_THAT(told, testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

TEST_F(Notifier, HideAndShowDropTheNameAndTheRootsAttributes) {
  serve();
  const auto notifier = make_notifier();
  notifier->hide(fsdax());
  expect_name_gone("pmem0");
  notifier->show(devdax());
  expect_name_gone("dax1.0");
}

TEST_F(Notifier, BeforeInitNothingIsSent) {
  start();
  const auto notifier = make_notifier();
  EXPECT_EQ(notifier->inval(root(), kWholeFile).err(), ENOSYS);
  notifier->hide(fsdax());
  EXPECT_EQ(kernel_.call(FUSE_INIT, 0, bytes(init_of_today())).err, 0);
  EXPECT_TRUE(notifier->inval(root(), {0, 1}));
  expect_inval(root(), 0, 1);  // the first that was sent
}

TEST_F(Notifier, AfterTheConnectionsEndCallsFail) {
  serve();
  const auto notifier = make_notifier();
  end_connection();
  EXPECT_EQ(notifier->inval(root(), kWholeFile).err(), EPIPE);
  notifier->hide(fsdax());
  server_->stop();
  EXPECT_EQ(notifier->inval(root(), {0, 1}).err(), EPIPE);
}

TEST_F(Notifier, ItsEndLeavesTheSessionAsItIs) {
  serve();
  auto notifier = make_notifier();
  EXPECT_TRUE(notifier->inval(root(), {0, 1}));
  notifier.reset();
  expect_inval(root(), 0, 1);
  settle();
}

// --- files of the mount

TEST_F(Notifier, FlushWantsTheMountAtItsPlace) {
  serve();
  const auto notifier = make_notifier();
  EXPECT_EQ(notifier->flush(root(), kWholeFile).err(), ESTALE);  // another is mounted there
  EXPECT_FALSE(notifier->open_inode(root()));
  EXPECT_EQ(errno, ESTALE);
  KernelNotifier nowhere(server_->session(), host_.path() + "/missing", dev_t{0});
  EXPECT_EQ(nowhere.flush(root(), {0, 1}).err(), ENOENT);
  EXPECT_FALSE(nowhere.open_inode(root(), "/pmem0"));
  EXPECT_EQ(errno, ENOENT);
}

TEST_F(Notifier, DevicesThatNobodyHasOpenHaveNoHolders) {
  serve();
  const auto notifier = make_notifier();
  EXPECT_TRUE(notifier->holders({}).empty());
  EXPECT_TRUE(notifier->holders({&fsdax(), &devdax()}).empty());
}

// --- over a kernel that refuses

// A session whose messages go nowhere: each is answered with the errno that is set.
class RefusingKernel {
 public:
  RefusingKernel() {
    fuse_args args = FUSE_ARGS_INIT(0, nullptr);
    fuse_opt_add_arg(&args, "pmemd");
    const fuse_lowlevel_ops ops = {};
    session_ = fuse_session_new(&args, &ops, sizeof(ops), this);
    fuse_opt_free_args(&args);
    const fuse_custom_io io = {
        .writev = take, .read = nothing, .splice_receive = nullptr, .splice_send = nullptr};
    const UniqueFd any(open("/dev/null", O_RDWR | O_CLOEXEC));
    EXPECT_EQ(fuse_session_custom_io(session_, &io, fcntl(any.get(), F_DUPFD_CLOEXEC, 0)), 0);
    FakeKernel kernel;  // for the request's bytes
    const std::string body = bytes(init_of_today());
    std::string request = bytes(kernel.header(FUSE_INIT, 0, body.size())) + body;
    const fuse_buf buffer = {
        .size = request.size(), .flags = {}, .mem = request.data(), .fd = -1, .pos = 0};
    fuse_session_process_buf(session_, &buffer);
  }
  ~RefusingKernel() { fuse_session_destroy(session_); }
  RefusingKernel(const RefusingKernel&) = delete;
  RefusingKernel& operator=(const RefusingKernel&) = delete;

  fuse_session* session() { return session_; }

  int err = 0;  // of the next messages; 0: they are taken
  std::function<void()> on_message = [] {};

 private:
  static ssize_t take(int /*fd*/, iovec* parts, int count, void* userdata) {
    auto& self = *static_cast<RefusingKernel*>(userdata);
    self.on_message();
    ssize_t size = 0;
    for (int i = 0; i < count; ++i) size += static_cast<ssize_t>(parts[i].iov_len);
    errno = self.err;
    return self.err == 0 ? size : -1;
  }
  static ssize_t nothing(int /*fd*/, void* /*buffer*/, size_t /*size*/, void* /*userdata*/) {
    return 0;
  }

  fuse_session* session_ = nullptr;
};

TEST(NotifierErrors, KernelsErrnoComesBack) {
  RefusingKernel kernel;
  KernelNotifier notifier(kernel.session(), "/", dev_t{0});
  for (const int err : {ENOENT, EBUSY, EIO, ENODEV, EINVAL}) {
    kernel.err = err;
    const auto told = notifier.inval(4711, {0, kPageSize});
    EXPECT_EQ(told.err(), err);
    EXPECT_THAT(told.error().describe(), testing::HasSubstr("inval of inode 4711"));
  }
  kernel.err = 0;
  EXPECT_TRUE(notifier.inval(4711, kWholeFile));
}

TEST(NotifierErrors, OnlyItsThreadTalksToTheKernel) {
  RefusingKernel kernel;
  KernelNotifier notifier(kernel.session(), "/", dev_t{0});
  std::vector<bool> was_own;
  kernel.on_message = [&] { was_own.push_back(notifier.is_own_thread(gettid())); };
  EXPECT_TRUE(notifier.inval(1, {0, 1}));
  EXPECT_TRUE(notifier.inval(1, kWholeFile));
  EXPECT_EQ(was_own, (std::vector{true, true}));
  EXPECT_FALSE(notifier.is_own_thread(gettid()));
}

}  // namespace
}  // namespace pmemd::test
