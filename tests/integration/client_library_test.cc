// libpmemd-client on a real mount. The test itself is the program.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <latch>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "client/pmemd_client.h"
#include "client/pmemd_client.hpp"
#include "core/base/unique_fd.h"
#include "core/base/units.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::HasSubstr;

// What a callback was told, for the test's thread to wait for.
class Told {
 public:
  explicit Told(int answer = PMEMD_ANSWER_DONE) : answer_(answer) {}
  static int call(const pmemd_event* event, void* context) {
    auto* self = static_cast<Told*>(context);
    if (self->during) self->during(*event);
    const std::lock_guard lock(self->mutex_);
    self->events_.push_back(*event);
    self->came_.notify_all();
    return self->answer_;
  }
  pmemd_event next() {
    std::unique_lock lock(mutex_);
    if (!came_.wait_for(lock, kPatience, [this] { return !events_.empty(); })) {
      throw std::runtime_error("no event came");
    }
    const pmemd_event event = events_.front();
    events_.pop_front();
    return event;
  }
  bool is_empty() {
    const std::lock_guard lock(mutex_);
    return events_.empty();
  }

  std::function<void(const pmemd_event&)> during;

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<pmemd_event> events_;
  int answer_;
};

class ClientLibraryTest : public RemovalTest {
 protected:
  static constexpr uint64_t kBytes = 64 * kPageSize;

  void SetUp() override {
    RemovalTest::SetUp();
    if (IsSkipped()) return;
    make_file("pmem0/a", kBytes);
    path_ = pool_.path("pmem0/a");
    fd_ = UniqueFd(open(path_.c_str(), O_RDWR | O_CLOEXEC));
    void* const mapped = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    ASSERT_NE(mapped, MAP_FAILED);
    base_ = static_cast<char*>(mapped);
  }
  void TearDown() override {
    if (base_ != nullptr) munmap(base_, kBytes);
    fd_ = UniqueFd();
  }
  void poison(uint64_t page, uint64_t pages = 1) const {
    pool_.ctl_json({"inject-error", "--file", path_, "--offset", std::to_string(page * kPageSize),
                    "--length", std::to_string(pages * kPageSize)});
  }
  int rewrite(uint64_t page, char with) const {
    const std::string bytes(kPageSize, with);
    const ssize_t put =
        pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(page * kPageSize));
    return put == static_cast<ssize_t>(kPageSize) ? 0 : errno;
  }
  pmemd_registration* register_whole(Told& told) {
    pmemd_registration* made = nullptr;
    EXPECT_EQ(pmemd_register(fd_.get(), 0, kBytes, base_, Told::call, &told, &made), 0);
    return made;
  }
  Json refs() const { return pool_.ctl_json({"refs", "namespace0.0"}); }

  std::string path_;
  UniqueFd fd_;
  char* base_ = nullptr;
};

TEST_F(ClientLibraryTest, AMountsFileIsOurs) { EXPECT_EQ(pmemd_is_ours(fd_.get()), 1); }

TEST_F(ClientLibraryTest, PoisonIsToldInTheMappersCoordinatesAndReadsStopThere) {
  Told told;
  pmemd_registration* made = nullptr;
  ASSERT_EQ(pmemd_register(fd_.get(), 2 * kPageSize, 8 * kPageSize, base_ + 2 * kPageSize,
                           Told::call, &told, &made),
            0);
  poison(4, 2);
  const pmemd_event event = told.next();
  EXPECT_EQ(event.kind, PMEMD_EVENT_POISON);
  EXPECT_EQ(event.offset, 4 * kPageSize);
  EXPECT_EQ(event.length, 2 * kPageSize);
  EXPECT_EQ(event.address, reinterpret_cast<uintptr_t>(base_) + 4 * kPageSize);
  std::string bytes(kBytes, '\0');
  size_t done = 0;
  EXPECT_EQ(pmemd_read_guarded(bytes.data(), base_, kBytes, &done), -EFAULT);
  EXPECT_EQ(done, 4 * kPageSize);
  EXPECT_EQ(pmemd_write_guarded(base_ + 5 * kPageSize, bytes.data(), 1, &done), -EFAULT);
  EXPECT_EQ(rewrite(4, 'n'), 0);
  EXPECT_EQ(told.next().kind, PMEMD_EVENT_CLEARED);
  EXPECT_EQ(rewrite(5, 'n'), 0);
  EXPECT_EQ(told.next().kind, PMEMD_EVENT_CLEARED);
  EXPECT_EQ(pmemd_read_guarded(bytes.data(), base_, kBytes, &done), 0);
  EXPECT_EQ(done, kBytes);
  EXPECT_EQ(bytes[5 * kPageSize], 'n');
  pmemd_unregister(made);
}

TEST_F(ClientLibraryTest, RemovalAndEnableAreToldToWhoHasClosedItsDescriptor) {
  Told told;
  pmemd_registration* made = register_whole(told);
  fd_ = UniqueFd();
  force_off();
  EXPECT_EQ(told.next().kind, PMEMD_EVENT_PRE_REMOVE);
  EXPECT_EQ(told.next().kind, PMEMD_EVENT_REMOVED);
  char byte = 0;
  EXPECT_EQ(pmemd_read_guarded(&byte, base_, 1, nullptr), -EFAULT);
  turn_on();
  EXPECT_EQ(told.next().kind, PMEMD_EVENT_ENABLED);
  EXPECT_EQ(pmemd_read_guarded(&byte, base_, 1, nullptr), 0);
  pmemd_unregister(made);
}

TEST_F(ClientLibraryTest, AnAnswerEndsTheGraceTime) {
  Told told;
  told.during = [this](const pmemd_event& event) {
    if (event.kind == PMEMD_EVENT_PRE_REMOVE) munmap(base_, kBytes);
  };
  pmemd_registration* made = register_whole(told);
  fd_ = UniqueFd();
  force_off("--grace=30s");
  base_ = nullptr;
  const pmemd_event event = told.next();
  EXPECT_EQ(event.kind, PMEMD_EVENT_PRE_REMOVE);
  EXPECT_EQ(event.flags, PMEMD_EVENT_WANTS_ANSWER);
  pmemd_unregister(made);
}

TEST_F(ClientLibraryTest, ATakeoverRepairsAndNobodyElseIsTold) {
  Told mapper;
  Told owner;
  std::string saved(kPageSize, '\0');
  owner.during = [&](const pmemd_event& event) {
    EXPECT_EQ(event.kind, PMEMD_EVENT_TAKEOVER);
    EXPECT_EQ(event.offset, 3 * kPageSize);
    EXPECT_EQ(pmemd_read_guarded(saved.data(), base_ + event.offset, kPageSize, nullptr), 0);
    EXPECT_EQ(pwrite(fd_.get(), saved.data(), kPageSize, static_cast<off_t>(event.offset)),
              static_cast<ssize_t>(kPageSize));
  };
  base_[3 * kPageSize] = 'k';
  pmemd_registration* mapping = register_whole(mapper);
  pmemd_registration* takeover = nullptr;
  ASSERT_EQ(pmemd_register_takeover(fd_.get(), 0, kBytes, 10'000, Told::call, &owner, &takeover),
            0);
  poison(3);
  EXPECT_EQ(owner.next().kind, PMEMD_EVENT_TAKEOVER);
  EXPECT_EQ(saved[0], 'k');
  EXPECT_EQ(base_[3 * kPageSize], 'k');
  pmemd_unregister(takeover);
  poison(9);
  pmemd_event event = mapper.next();
  while (event.kind == PMEMD_EVENT_CLEARED) event = mapper.next();
  EXPECT_EQ(event.offset, 9 * kPageSize) << "the first poison that it is told of";
  pmemd_unregister(mapping);
}

TEST_F(ClientLibraryTest, ARefusedTakeoverIsAsWithoutIt) {
  Told mapper;
  Told owner(PMEMD_ANSWER_REFUSED);
  pmemd_registration* mapping = register_whole(mapper);
  pmemd_registration* takeover = nullptr;
  ASSERT_EQ(pmemd_register_takeover(fd_.get(), 0, kBytes, 10'000, Told::call, &owner, &takeover),
            0);
  poison(3);
  EXPECT_EQ(owner.next().kind, PMEMD_EVENT_TAKEOVER);
  EXPECT_EQ(mapper.next().kind, PMEMD_EVENT_POISON);
  pmemd_unregister(takeover);
  pmemd_unregister(mapping);
}

TEST_F(ClientLibraryTest, TheProgramsOwnEventsAreItsOwn) {
  Told told;
  pmemd_registration* made = register_whole(told);
  pmemd_mapping own = {0, kBytes, reinterpret_cast<uintptr_t>(base_), 0};
  ASSERT_EQ(ioctl(fd_.get(), PMEMD_IOC_MAP, &own), 0);
  poison(7);
  EXPECT_EQ(told.next().offset, 7 * kPageSize);
  pollfd poll_fd = {fd_.get(), POLLPRI, 0};
  ASSERT_EQ(poll(&poll_fd, 1, 30'000), 1);
  pmemd_event event = {};
  ASSERT_EQ(ioctl(fd_.get(), PMEMD_IOC_READ_EVENT, &event), 0);
  EXPECT_EQ(event.id, own.id);
  EXPECT_EQ(ioctl(fd_.get(), PMEMD_IOC_UNMAP, &own.id), 0);
  pmemd_unregister(made);
}

TEST_F(ClientLibraryTest, UnregisterWaitsForTheCallbackThatRuns) {
  std::latch inside(1);
  std::latch go_on(1);
  std::atomic<bool> over = false;
  Told told;
  told.during = [&](const pmemd_event&) {
    inside.count_down();
    go_on.wait();
    over = true;
  };
  pmemd_registration* made = register_whole(told);
  poison(1);
  inside.wait();
  std::thread unregistering([&] {
    pmemd_unregister(made);
    EXPECT_TRUE(over);
  });
  go_on.count_down();
  unregistering.join();
  EXPECT_EQ(refs().at("mappings"), 0);
}

TEST_F(ClientLibraryTest, ACallbackMayUnregisterItself) {
  static pmemd_registration* made = nullptr;
  Told told;
  told.during = [](const pmemd_event&) { pmemd_unregister(made); };
  made = register_whole(told);
  poison(1);
  EXPECT_EQ(told.next().kind, PMEMD_EVENT_POISON);
  poison(2);
  // A second one is served behind what the first has left.
  Told other;
  pmemd_registration* second = register_whole(other);
  poison(3);
  EXPECT_EQ(other.next().offset, 3 * kPageSize);
  EXPECT_TRUE(told.is_empty());
  pmemd_unregister(second);
  EXPECT_EQ(refs().at("mappings"), 0);
}

TEST_F(ClientLibraryTest, AChildHasNoneAndMayHaveItsOwn) {
  Told told;
  pmemd_registration* made = register_whole(told);
  const pid_t child = fork();
  if (child == 0) {
    pmemd_unregister(made);
    Told own;
    pmemd_registration* mine = nullptr;
    if (pmemd_register(fd_.get(), 0, kBytes, base_, Told::call, &own, &mine) != 0) _exit(1);
    pmemd_unregister(mine);
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  poison(1);
  EXPECT_EQ(told.next().offset, kPageSize) << "the parent's is as it was";
  pmemd_unregister(made);
}

TEST_F(ClientLibraryTest, EachErrno) {
  Told told;
  pmemd_registration* made = nullptr;
  const auto map = [&](uint64_t offset, uint64_t length) {
    return pmemd_register(fd_.get(), offset, length, base_, Told::call, &told, &made);
  };
  EXPECT_EQ(map(0, 0), -EINVAL);
  EXPECT_EQ(map(kBytes - 1, 2), -EINVAL);
  EXPECT_EQ(map(kBytes, 1), -EINVAL);
  const auto take_over = [&](int fd, uint32_t timeout_ms) {
    return pmemd_register_takeover(fd, 0, kPageSize, timeout_ms, Told::call, &told, &made);
  };
  const UniqueFd read_only(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(take_over(read_only.get(), 100), -EBADF);
  EXPECT_EQ(take_over(fd_.get(), 0), -EINVAL);
  EXPECT_EQ(take_over(fd_.get(), 10'001), -EINVAL);
  pmemd_takeover raw = {0, kPageSize, 100, 0, 0};
  ASSERT_EQ(ioctl(fd_.get(), PMEMD_IOC_TAKEOVER, &raw), 0);
  EXPECT_EQ(take_over(fd_.get(), 100), -EEXIST);
  force_off();
  EXPECT_EQ(map(0, kPageSize), -EIO);
  EXPECT_EQ(made, nullptr);
  turn_on();
  EXPECT_EQ(refs().at("mappings"), 0);
}

// What a daemon does for a call that nobody waits for any more is taken back.
TEST_F(ClientLibraryTest, ADaemonThatHangsIsATimeoutAndNothingStays) {
  Told told;
  pmemd_registration* first = register_whole(told);
  pool_.daemon().stop();
  pmemd_registration* second = nullptr;
  EXPECT_EQ(pmemd_register(fd_.get(), 0, kPageSize, base_, Told::call, &told, &second), -ETIMEDOUT);
  EXPECT_EQ(second, nullptr);
  pool_.daemon().signal(SIGCONT);
  pmemd_registration* third = register_whole(told);  // served behind the second: one thread asks
  EXPECT_EQ(refs().at("mappings"), 2) << "the first and the third";
  pmemd_unregister(third);
  pmemd_unregister(first);
  EXPECT_EQ(refs().at("mappings"), 0);
}

TEST_F(ClientLibraryTest, NothingIsLeftWhenAllAreUnregistered) {
  const auto threads = [] {
    const std::filesystem::directory_iterator all("/proc/self/task");
    return std::distance(begin(all), end(all));
  };
  const auto before = threads();
  std::vector<Told> told(20);
  std::vector<pmemd_registration*> all;
  for (Told& each : told) all.push_back(register_whole(each));
  EXPECT_EQ(refs().at("mappings"), 20);
  EXPECT_GT(threads(), before);
  poison(1);
  for (Told& each : told) EXPECT_EQ(each.next().offset, kPageSize);
  for (pmemd_registration* each : all) pmemd_unregister(each);
  while (threads() != before) std::this_thread::yield();
  const Json left = refs();
  EXPECT_EQ(left.at("mappings"), 0);
}

TEST_F(ClientLibraryTest, ManyThreadsRegisterAndUnregister) {
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this] {
      for (int round = 0; round < 25; ++round) {
        Told told;
        pmemd_unregister(register_whole(told));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(refs().at("mappings"), 0);
}

TEST_F(ClientLibraryTest, TheCxxRegistrationEndsWithItsObject) {
  Told told;
  {
    client::Registration registration;
    EXPECT_FALSE(registration);
    EXPECT_EQ(
        registration.map(fd_.get(), 0, kBytes, base_,
                         [&told](const pmemd_event& event) { return Told::call(&event, &told); }),
        0);
    client::Registration moved = std::move(registration);
    EXPECT_TRUE(moved);
    poison(1);
    EXPECT_EQ(told.next().offset, kPageSize);
    client::Registration failing;
    EXPECT_EQ(failing.take_over(fd_.get(), 0, kBytes, 0, [](const pmemd_event&) { return 0; }),
              EINVAL);
    EXPECT_FALSE(failing);
  }
  EXPECT_EQ(refs().at("mappings"), 0);
}

// --- the examples

TEST_F(ClientLibraryTest, TheGuardedReadExampleTellsWhatFailed) {
  poison(2);
  const Output output = run({program("pmemd_example_guarded_read"), path_});
  EXPECT_EQ(output.code, 0);
  EXPECT_EQ(output.out.size(), kBytes - kPageSize);
  EXPECT_EQ(output.err, "4096 bytes at 8192: Bad address\n");
}

TEST_F(ClientLibraryTest, TheEventExamplesTellOfPoison) {
  Conversation in_c({program("pmemd_example_event_loop"), path_});
  EXPECT_THAT(in_c.receive(), HasSubstr("262144 bytes at 0x"));
  const bool python = run({"python3", "-c", "import mmap"}).code == 0;
  std::unique_ptr<Conversation> in_python;
  if (python) {
    in_python = std::make_unique<Conversation>(
        std::vector<std::string>{"python3", PMEMD_SOURCE_DIR "/client/examples/events.py", path_});
    EXPECT_THAT(in_python->receive(), HasSubstr("262144 bytes at 0x"));
  }
  poison(2);
  EXPECT_THAT(in_c.receive(), HasSubstr("a: poison: bytes 8192 to 12288, at address 0x"));
  if (python) {
    EXPECT_THAT(in_python->receive(), HasSubstr(": poison: bytes 8192 to 12288, at address 0x"));
  }
  in_c.send("");
  EXPECT_EQ(in_c.process().wait(), 0);
}

}  // namespace
}  // namespace pmemd
