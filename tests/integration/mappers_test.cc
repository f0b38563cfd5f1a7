// What mappers are told through their descriptors (client/pmemd_ioctl.h). "Must show" 6.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <vector>

#include "client/pmemd_ioctl.h"
#include "core/base/unique_fd.h"
#include "tests/integration/support/mapper.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::AnyOf;
using ::testing::StartsWith;

class MappersTest : public RemovalTest {
 protected:
  void SetUp() override {
    RemovalTest::SetUp();
    if (IsSkipped()) return;
    make_file("pmem0/a", 65536);
    path_ = pool_.path("pmem0/a");
  }
  DaemonOptions daemon_options() const override {
    DaemonOptions options;
    options.allow_other = true;
    return options;
  }
  // What `pmemctl refs` counts, once it is so: that a process ended is told to the daemon late.
  bool becomes(const std::string& key, uint64_t expected) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (pool_.ctl_json({"refs", "namespace0.0"}).at(key) != expected) {
      if (std::chrono::steady_clock::now() > deadline) return false;
    }
    return true;
  }

  std::string path_;
};

TEST_F(MappersTest, NobodyInNamespacesOfItsOwnIsWokenAndToldInItsOwnCoordinates) {
  ASSERT_EQ(chmod(path_.c_str(), 0644), 0);
  MapperProgram mapper(MapperProgram::Where::kContained);
  ASSERT_EQ(mapper.ask("whoami"), "ok 1 65534") << "its own pid namespace, no privilege";
  ASSERT_EQ(mapper.ask("open " + path_ + " ro"), "ok 0");
  const uint64_t id = mapper.number("register 0 8192 16384");
  EXPECT_EQ(mapper.ask("ready 0"), "ok in out") << "as any file";
  EXPECT_EQ(mapper.ask("read 0"), "error EAGAIN");
  mapper.send("wait 0");
  MonitorProgram monitor(pool_);
  force_off();
  const Told before = Told::parse(mapper.receive());
  EXPECT_EQ(before.kind, PMEMD_EVENT_PRE_REMOVE);
  EXPECT_EQ(before.id, id);
  EXPECT_EQ(before.offset, 8192u);
  EXPECT_EQ(before.length, 16384u);
  EXPECT_EQ(before.at, 8192u) << "its address is the mapping's";
  EXPECT_EQ(before.flags, 0u);
  EXPECT_EQ(before.seq, monitor.next_of_namespace().at("seq").get<uint64_t>());
  const Told after = mapper.event("wait 0");
  EXPECT_EQ(after.kind, PMEMD_EVENT_REMOVED);
  EXPECT_EQ(after.seq, monitor.next_of_namespace().at("seq").get<uint64_t>());
  EXPECT_EQ(mapper.ask("ready 0"), "ok in out") << "all was read";
  turn_on();
  EXPECT_EQ(mapper.ask("ready 0"), "ok pri in out");
  EXPECT_EQ(mapper.event("read 0").kind, PMEMD_EVENT_ENABLED);
  EXPECT_EQ(mapper.ask("read 0"), "error EAGAIN");
  EXPECT_EQ(pool_.ctl_json({"refs", "namespace0.0"}).at("mappings"), 1) << "it is known by its pid";
}

TEST_F(MappersTest, ClosingOrEndingTakesAllOfItAway) {
  MapperProgram mapper;
  ASSERT_EQ(mapper.ask("open " + path_ + " rw"), "ok 0");
  ASSERT_EQ(mapper.ask("open " + path_ + " rw"), "ok 1");
  mapper.number("register 0 0 4096");
  mapper.number("takeover 0 0 4096 1000");
  const uint64_t ended = mapper.number("takeover 1 4096 4096 1000");
  mapper.number("register 1 0 4096");
  const Json refs = pool_.ctl_json({"refs", "namespace0.0"});
  EXPECT_EQ(refs.at("mappings"), 2);
  EXPECT_EQ(refs.at("takeovers"), 2);
  EXPECT_EQ(refs.at("holders")[0].at("takeovers"), 2);
  EXPECT_EQ(mapper.ask("end 1 " + std::to_string(ended)), "ok");
  EXPECT_EQ(mapper.ask("end 1 " + std::to_string(ended)), "error ENOENT");
  EXPECT_EQ(pool_.ctl_json({"refs", "namespace0.0"}).at("takeovers"), 1);
  EXPECT_EQ(mapper.ask("close 0"), "ok");
  EXPECT_TRUE(becomes("takeovers", 0));
  EXPECT_TRUE(becomes("mappings", 1));
  mapper.process().signal(SIGKILL);
  EXPECT_TRUE(becomes("mappings", 0));
  EXPECT_TRUE(becomes("handles", 0));
}

TEST_F(MappersTest, EachErrno) {
  MapperProgram mapper;
  ASSERT_EQ(mapper.ask("open " + path_ + " rw"), "ok 0");
  ASSERT_EQ(mapper.ask("open " + path_ + " ro"), "ok 1");
  ASSERT_EQ(mapper.ask("open " + path_ + " rw"), "ok 2");
  EXPECT_EQ(mapper.ask("register 0 0 0"), "error EINVAL");
  EXPECT_EQ(mapper.ask("register 0 65536 1"), "error EINVAL");
  EXPECT_EQ(mapper.ask("unregister 0 777"), "error ENOENT");
  EXPECT_EQ(mapper.ask("takeover 0 0 65537 1000"), "error EINVAL");
  EXPECT_EQ(mapper.ask("takeover 0 0 4096 0"), "error EINVAL");
  EXPECT_EQ(mapper.ask("takeover 0 0 4096 10001"), "error EINVAL");
  EXPECT_EQ(mapper.ask("takeover 1 0 4096 1"), "error EBADF");
  const std::string id = std::to_string(mapper.number("takeover 0 0 8192 10000"));
  EXPECT_EQ(mapper.ask("takeover 2 4096 8192 1"), "error EEXIST");
  EXPECT_EQ(mapper.ask("unregister 0 " + id), "error ENOENT") << "it is a takeover";
  EXPECT_EQ(mapper.ask("end 2 " + id), "error ENOENT") << "another descriptor's";
  EXPECT_EQ(mapper.ask("answer 0 1 " + id + " 1"), "error ENOENT");
  EXPECT_EQ(mapper.ask("answer 0 1 " + id + " 0"), "error EINVAL");
  EXPECT_EQ(mapper.ask("answer 0 1 " + id + " 3"), "error EINVAL");
  EXPECT_EQ(mapper.ask("query 0 0 0"), "error EINVAL");
  EXPECT_EQ(mapper.ask("query 0 0 65537"), "error EINVAL");
  EXPECT_EQ(mapper.ask("query 0 4096 8192"), "ok 4096 0");
  force_off();
  EXPECT_EQ(mapper.ask("register 0 0 4096"), "error EIO");
  EXPECT_EQ(mapper.ask("takeover 0 0 4096 1"), "error EIO");
  EXPECT_EQ(mapper.ask("query 0 0 4096"), "error EIO");
  EXPECT_EQ(mapper.ask("info 0"), "ok 1 13 512");
  EXPECT_EQ(mapper.ask("read 0"), "error EAGAIN") << "a takeover isn't told of a removal";
  EXPECT_EQ(mapper.ask("end 0 " + id), "ok");
}

TEST_F(MappersTest, ReservedFieldsAreZeroAndOtherFilesHaveNoSuchCalls) {
  const UniqueFd file(open(path_.c_str(), O_RDWR | O_CLOEXEC));
  pmemd_takeover takeover = {};
  takeover.length = 4096;
  takeover.timeout_ms = 1;
  takeover.reserved = 1;
  EXPECT_NE(ioctl(file.get(), PMEMD_IOC_TAKEOVER, &takeover), 0);
  EXPECT_EQ(errno, EINVAL);
  pmemd_answer answer = {};
  answer.answer = PMEMD_ANSWER_DONE;
  answer.reserved = 1;
  EXPECT_NE(ioctl(file.get(), PMEMD_IOC_ANSWER, &answer), 0);
  EXPECT_EQ(errno, EINVAL);
  const UniqueFd other(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const UniqueFd directory(open(pool_.path("pmem0").c_str(), O_RDONLY | O_CLOEXEC));
  pmemd_event event = {};
  for (const int fd : {other.get(), directory.get()}) {
    EXPECT_NE(ioctl(fd, PMEMD_IOC_READ_EVENT, &event), 0);
    EXPECT_EQ(errno, ENOTTY);
  }
}

TEST_F(MappersTest, DevdaxToo) {
  MapperProgram mapper;
  ASSERT_EQ(mapper.ask("open " + pool_.path("dax0.1") + " rw"), "ok 0");
  const uint64_t id = mapper.number("register 0 4096 8192");
  EXPECT_EQ(mapper.ask("info 0"), "ok 1 5 512");
  pool_.ctl_json({"disable-namespace", "namespace0.1", "--force"});
  EXPECT_EQ(mapper.ask("query 0 0 4096"), "error ENXIO");
  EXPECT_EQ(mapper.ask("register 0 0 4096"), "error ENXIO");
  EXPECT_EQ(mapper.event("wait 0").id, id);
  EXPECT_EQ(mapper.event("wait 0").kind, PMEMD_EVENT_REMOVED);
  pool_.ctl_json({"enable-namespace", "namespace0.1"});
  EXPECT_EQ(mapper.event("wait 0").kind, PMEMD_EVENT_ENABLED);
}

TEST_F(MappersTest, GraceWaitsForTheAnswerAndNoLonger) {
  MapperProgram mapper;
  ASSERT_EQ(mapper.ask("open " + path_ + " rw"), "ok 0");
  const std::string id = std::to_string(mapper.number("register 0 0 65536"));
  Conversation removal(
      pool_.ctl_args({"--json", "disable-namespace", "0.0", "--force", "--grace", "1h"}));
  const Told told = mapper.event("wait 0");
  EXPECT_EQ(told.kind, PMEMD_EVENT_PRE_REMOVE);
  EXPECT_EQ(told.flags, PMEMD_EVENT_WANTS_ANSWER);
  EXPECT_EQ(told.timeout_ms, 3'600'000u);
  const std::string seq = std::to_string(told.seq);
  EXPECT_EQ(mapper.ask("answer 0 " + seq + " " + id + " 2"), "error EINVAL") << "it has no choice";
  EXPECT_EQ(mapper.ask("answer 0 " + seq + " " + id + " 1"), "ok");
  while (removal.receive() != "gone") {
  }
  EXPECT_EQ(removal.process().wait(), 0);
  EXPECT_EQ(mapper.event("wait 0").kind, PMEMD_EVENT_REMOVED);
}

// 1,000 descriptors in four processes, of which ten are never read.
TEST_F(MappersTest, ThousandSubscribersAndThoseWhoNeverReadCostABoundedQueue) {
  constexpr int kBatches = 3;
  constexpr int kRounds = 8;  // in a batch; of three events: less than a queue holds, so that
                              // whoever reads misses none, however late it does
  std::vector<std::unique_ptr<MapperProgram>> mappers;
  for (int i = 0; i < 4; ++i) {
    mappers.push_back(std::make_unique<MapperProgram>());
    const std::string silent = i == 0 ? " 10" : " 0";
    ASSERT_EQ(mappers.back()->ask("subscribe " + path_ + " 250" + silent), "ok");
  }
  EXPECT_EQ(pool_.ctl_json({"refs", "namespace0.0"}).at("mappings"), 1000);
  for (int batch = 0; batch < kBatches; ++batch) {
    for (const auto& mapper : mappers) mapper->send("follow " + std::to_string(3 * kRounds));
    for (int round = 0; round < kRounds; ++round) turn_off_and_on();
    for (const auto& mapper : mappers) ASSERT_EQ(mapper->receive(), "ok");
  }
  constexpr int kMissed = 3 * kRounds * kBatches - PMEMD_EVENTS_MAX;
  EXPECT_EQ(mappers[0]->ask("drain"),
            "ok " + std::to_string(10 * kMissed) + " " + std::to_string(10 * PMEMD_EVENTS_MAX));
  mappers.clear();
  EXPECT_TRUE(becomes("mappings", 0));
  EXPECT_TRUE(becomes("handles", 0));
}

// RELEASE races with events and wakeups: none is sent to what is gone, and nothing stays behind.
TEST_F(MappersTest, DescriptorsMayCloseWhileTheyAreTold) {
  std::vector<std::unique_ptr<MapperProgram>> mappers;
  for (int i = 0; i < 2; ++i) {
    mappers.push_back(std::make_unique<MapperProgram>());
    mappers.back()->send("churn " + path_ + " 2000");
  }
  for (int round = 0; round < 5; ++round) turn_off_and_on();
  for (const auto& mapper : mappers) EXPECT_THAT(mapper->receive(), StartsWith("ok "));
  EXPECT_TRUE(becomes("mappings", 0));
  EXPECT_TRUE(becomes("handles", 0));
}

// Any language will do: no header, no library.
constexpr const char* kPython = R"(
import ctypes, fcntl, mmap, os, select, struct, sys
MAP, READ_EVENT = 0xC020DA03, 0x8048DA05
fd = os.open(sys.argv[1], os.O_RDWR)
memory = mmap.mmap(fd, 65536)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
request = fcntl.ioctl(fd, MAP, struct.pack('4Q', 4096, 8192, address + 4096, 0))
mine = struct.unpack('4Q', request)[3]
poll = select.poll()
poll.register(fd, select.POLLPRI)
print('ready', flush=True)
for _ in range(3):
    assert poll.poll() == [(fd, select.POLLPRI)]
    seq, time, kind, flags, id, offset, length, where, missed, timeout, _ = struct.unpack(
        'QQIIQQQQQII', fcntl.ioctl(fd, READ_EVENT, bytes(72)))
    print(kind, id == mine, offset, length, where - address, missed, flush=True)
)";

TEST_F(MappersTest, PythonAloneReadsItsEvents) {
  Conversation python({"python3", "-c", kPython, path_});
  ASSERT_EQ(python.receive(), "ready");
  turn_off_and_on();
  EXPECT_EQ(python.receive(), "2 True 4096 8192 4096 0");
  EXPECT_EQ(python.receive(), "3 True 4096 8192 4096 0");
  EXPECT_EQ(python.receive(), "4 True 4096 8192 4096 0");
}

TEST_F(MappersTest, StopOfTheDaemonEndsWhoWaits) {
  MapperProgram mapper;
  ASSERT_EQ(mapper.ask("open " + path_ + " rw"), "ok 0");
  mapper.number("register 0 0 4096");
  mapper.send("wait 0");
  pool_.stop();
  // It was told before the mount went; whether it came to read that, is a race.
  EXPECT_THAT(mapper.receive(), AnyOf(StartsWith("ok 2 "), StartsWith("error ")));
  EXPECT_EQ(mapper.ask("ready 0"), "ok err");
}

}  // namespace
}  // namespace pmemd
