// Poison on a real mount: exactly the pages that failed, in all their mappings, and back again.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/control_client.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class PoisonTest : public RemovalTest {
 protected:
  DaemonOptions daemon_options() const override { return {.debug_faults = true}; }

  Json inject(const std::string& file, uint64_t offset, uint64_t length,
              std::vector<std::string> options = {}) {
    std::vector<std::string> args = {
        "inject-error",         "--file",   pool_.path(file),      "--offset",
        std::to_string(offset), "--length", std::to_string(length)};
    args.insert(args.end(), options.begin(), options.end());
    return pool_.ctl_json(args);
  }
  // The errno of reading the block there, or 0.
  int read_errno(const std::string& file, uint64_t offset, size_t length = kPageSize) {
    const UniqueFd fd(open(pool_.path(file).c_str(), O_RDONLY | O_CLOEXEC));
    std::string bytes(length, '\0');
    const ssize_t got = pread(fd.get(), bytes.data(), length, static_cast<off_t>(offset));
    return got == static_cast<ssize_t>(length) ? 0 : got < 0 ? errno : ENODATA;
  }
  int write_errno(const std::string& file, uint64_t offset, const std::string& bytes) {
    const UniqueFd fd(open(pool_.path(file).c_str(), O_WRONLY | O_CLOEXEC));
    const ssize_t put = pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    return put == static_cast<ssize_t>(bytes.size()) ? 0 : put < 0 ? errno : ENODATA;
  }
};

// --- "Must show" 1

class StormTest : public PoisonTest {
 protected:
  static constexpr uint64_t kFirst = 8000, kEnd = 8003;  // of 16,384

  void start_storms() {
    write_file(pool_.path("pmem0/storm"), std::string(64 * kMiB, '\0'));
    for (int i = 0; i < 4; ++i) {
      storms_.push_back(std::make_unique<Conversation>(
          std::vector<std::string>{program("pmemd_test_storm"), pool_.path("pmem0/storm"), "2"}));
    }
    look_at_focus();
  }
  void look_at_focus() {
    for (auto& storm : storms_) {
      ASSERT_EQ(storm->ask("focus " + std::to_string(kFirst) + " " + std::to_string(kEnd)), "ok");
    }
  }
  static void wait_until(Conversation& storm, const std::string& question,
                         const std::function<bool(const std::string&)>& is_enough) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!is_enough(storm.ask(question))) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline)
          << question << ": " << storm.ask(question);
    }
  }
  // Each process has stored to each of the pages, and none of them has died in any.
  void expect_all_is_good() {
    look_at_focus();
    for (auto& storm : storms_) {
      wait_until(*storm, "good", [](const std::string& least) { return least != "0"; });
    }
    // Accesses that were under way when we began to look may have met the poison.
    look_at_focus();
    for (auto& storm : storms_) {
      wait_until(*storm, "good", [](const std::string& least) { return std::stoi(least) > 3; });
      EXPECT_EQ(storm->ask("bad"), "none");
    }
  }

  std::vector<std::unique_ptr<Conversation>> storms_;
};

TEST_F(StormTest, ExactlyThePoisonedPagesDieInAllMappersAndAWriteBringsThemBack) {
  start_storms();
  expect_all_is_good();
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    const Json report = inject("pmem0/storm", kFirst * kPageSize, (kEnd - kFirst) * kPageSize);
    look_at_focus();
    for (auto& storm : storms_) {
      wait_until(*storm, "bad", [](const std::string& runs) {
        return runs.starts_with("8000-8002:") && std::stoi(runs.substr(10)) > 20;
      });
      EXPECT_EQ(storm->ask("bad").find(' ', 0), storm->ask("bad").size() - 1) << "one run only";
      EXPECT_LE(std::stoi(storm->ask("good")), 2) << "accesses that had begun before";
    }
    EXPECT_EQ(read_errno("pmem0/storm", kFirst * kPageSize), EIO);
    EXPECT_EQ(read_errno("pmem0/storm", (kFirst - 1) * kPageSize), 0);
    EXPECT_EQ(read_errno("pmem0/storm", kEnd * kPageSize), 0);
    ASSERT_EQ(write_errno("pmem0/storm", kFirst * kPageSize,
                          std::string((kEnd - kFirst) * kPageSize, '\0')),
              0);
    expect_all_is_good();
  }
}

// --- what a program sees

TEST_F(PoisonTest, StoresThatWereNotWrittenBackSurviveNextToABadSector) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  ASSERT_EQ(client.ask("fill 0 5"), "ok");
  const std::string before = read_file(pool_.path("pmem0/a")).substr(4 * kPageSize, 512);
  inject("pmem0/a", 4 * kPageSize + 512, 512);
  EXPECT_THAT(client.ask("load 0 " + std::to_string(4 * kPageSize)), StartsWith("sigbus"))
      << "the page goes with its sector";
  EXPECT_EQ(read_errno("pmem0/a", 4 * kPageSize, 512), EIO);
  ASSERT_EQ(write_errno("pmem0/a", 4 * kPageSize + 512, std::string(512, 'n')), 0);
  const std::string after = read_file(pool_.path("pmem0/a")).substr(4 * kPageSize, 1024);
  EXPECT_EQ(after.substr(0, 512), before);
  EXPECT_EQ(after.substr(512), std::string(512, 'n'));
}

// Asked for over the socket: pmemctl opens the file, and its close would write them back.
TEST_F(PoisonTest, PagesThatWereStoredToAndNotWrittenBackAreMemory) {
  const std::string path = pool_.path("pmem0/a");
  const UniqueFd fd(open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_EQ(ftruncate(fd.get(), kMiB), 0);
  Client client;
  client.map_file(path, kMiB);
  const auto store = [&](uint64_t page) {
    ASSERT_EQ(client.ask(fmt::format("store 0 {} 7", page * kPageSize)), "ok");
  };
  ControlClient control(pool_.socket());
  const auto ask = [&](Json more) {
    more["file"] = "/pmem0/a";
    const auto answer = control.call("InjectError", more);
    EXPECT_TRUE(answer.done()) << more.dump() << answer.message();
    return answer.parameters;
  };
  store(3);
  const Json third = {{"offset", 3 * kPageSize}, {"length", kPageSize}};
  Json dry = third;
  dry["dry_run"] = true;
  EXPECT_EQ(ask(dry).at("reports").at(0).at("ranges").at(0).at("length"), kPageSize);
  ask(third);
  EXPECT_THAT(client.ask(fmt::format("load 0 {}", 3 * kPageSize)), StartsWith("sigbus"));
  for (const uint64_t page : {100, 101, 200}) store(page);
  // Pages 3, 100, 101 and 200 are all that there are.
  ask({{"random", 4}, {"seed", 1}});
  for (const uint64_t page : {100, 101, 200}) {
    EXPECT_EQ(read_errno("pmem0/a", page * kPageSize), EIO) << page;
  }
  EXPECT_EQ(read_errno("pmem0/a", 102 * kPageSize), 0);
}

TEST_F(PoisonTest, PartOfAClearUnitIsRefusedAndChangesNothing) {
  make_file("pmem0/a", 64 * kKiB);
  inject("pmem0/a", kPageSize, kPageSize);
  EXPECT_EQ(write_errno("pmem0/a", kPageSize + 100, "short"), EIO);
  EXPECT_EQ(read_errno("pmem0/a", kPageSize), EIO);
  EXPECT_EQ(write_errno("pmem0/a", kPageSize, std::string(512, 'n')), 0) << "a whole unit";
  EXPECT_EQ(read_errno("pmem0/a", kPageSize), EIO) << "seven more are bad";
  EXPECT_EQ(write_errno("pmem0/a", kPageSize, std::string(kPageSize, 'n')), 0);
  EXPECT_EQ(read_errno("pmem0/a", kPageSize), 0);
}

TEST_F(PoisonTest, PunchingAndZeroingClear) {
  make_file("pmem0/a", 64 * kKiB);
  const UniqueFd fd(open(pool_.path("pmem0/a").c_str(), O_RDWR | O_CLOEXEC));
  for (const int mode : {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE}) {
    inject("pmem0/a", 2 * kPageSize, kPageSize);
    EXPECT_EQ(read_errno("pmem0/a", 2 * kPageSize), EIO);
    ASSERT_EQ(fallocate(fd.get(), mode, 2 * kPageSize, kPageSize), 0) << errno_name(errno);
    EXPECT_EQ(read_file(pool_.path("pmem0/a")).substr(2 * kPageSize, kPageSize),
              std::string(kPageSize, '\0'));
    ASSERT_EQ(write_errno("pmem0/a", 2 * kPageSize, "x"), 0) << "nothing of it is bad";
  }
}

TEST_F(PoisonTest, SystemCallsOnSuchMemoryGetEfault) {
  make_file("pmem0/a", 64 * kKiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), 64 * kKiB);
  inject("pmem0/a", kPageSize, kPageSize);
  const UniqueFd fd(open(pool_.path("pmem0/a").c_str(), O_RDWR | O_CLOEXEC));
  void* map = mmap(nullptr, 64 * kKiB, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  const Pipe pipe;
  EXPECT_EQ(write(pipe.write_end.get(), static_cast<char*>(map) + kPageSize, 100), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(write(pipe.write_end.get(), map, 100), 100);
  munmap(map, 64 * kKiB);
}

TEST_F(PoisonTest, ALatentErrorIsToldByWhoTouchesItAndNotByReadAhead) {
  make_file("pmem0/a", kMiB);
  MonitorProgram monitor(pool_);
  inject("pmem0/a", 100 * kPageSize, kPageSize, {"--no-notify"});
  // All around it, with the kernel's read-ahead over it.
  for (const uint64_t page : {98, 99, 101, 102}) {
    EXPECT_EQ(read_errno("pmem0/a", page * kPageSize), 0) << page;
  }
  for (const Json& space : as_array(pool_.ctl_json({"list", "-N", "-M"}))) {
    EXPECT_FALSE(space.contains("badblock_count")) << space.dump();
  }
  EXPECT_EQ(read_errno("pmem0/a", 100 * kPageSize), EIO);
  const Json event = monitor.next_of_kind("poison");
  EXPECT_EQ(event.at("length"), kPageSize);
  EXPECT_EQ(monitor.next_of_kind("poison").at("file_offset"), 100 * kPageSize);
}

TEST_F(PoisonTest, PoisonSurvivesRemovalAndRestart) {
  make_file("pmem0/a", kMiB);
  inject("pmem0/a", 3 * kPageSize, kPageSize);
  pool_.ctl_json({"disable-namespace", "namespace0.0"});
  pool_.ctl_json({"enable-namespace", "namespace0.0"});
  EXPECT_EQ(read_errno("pmem0/a", 3 * kPageSize), EIO);
  pool_.stop();
  pool_.start(daemon_options());
  EXPECT_EQ(read_errno("pmem0/a", 3 * kPageSize), EIO);
  EXPECT_EQ(read_errno("pmem0/a", 2 * kPageSize), 0);
  pool_.expect_check_passes();
}

// --- "Must show" 8

class PowerCutTest : public PoisonTest {
 protected:
  // Has `step` stall, begins, kills the daemon when the step is reached, and starts it again.
  void kill_at(const std::string& step, const std::function<Conversation()>& begin) {
    ControlClient control(pool_.socket());
    stall_at(control, step);
    Conversation doing = begin();
    wait_until_stalled(control, step);
    pool_.kill9();
    pool_.start(daemon_options());
  }
  Conversation start_injecting() const {
    return Conversation(
        pool_.ctl_args({"inject-error", "--file", pool_.path("pmem0/a"), "--offset",
                        std::to_string(kAt), "--length", std::to_string(kPageSize)}));
  }
  Conversation start_writing() const {
    return Conversation({"dd", "if=" + pool_.directory() + "/new", "of=" + pool_.path("pmem0/a"),
                         "bs=4096", "count=1", "seek=3", "conv=notrunc", "status=none"});
  }
  // The record and the data agree: it reads as what was there, or it is bad.
  void expect(const std::string& content) {
    if (content == "bad") {
      EXPECT_EQ(read_errno("pmem0/a", kAt), EIO);
      return;
    }
    ASSERT_EQ(read_errno("pmem0/a", kAt), 0);
    EXPECT_EQ(read_file(pool_.path("pmem0/a")).substr(kAt, kPageSize), content);
  }

  static constexpr uint64_t kAt = 3 * kPageSize;
};

TEST_F(PowerCutTest, AtAnyStepOfAnInjectionTheRangeIsWholeOrBad) {
  for (const std::string step :
       {"inject.record", "media.write-record", "inject.failure", "inject.takeover", "inject.revoke",
        "revoke.inval", "inject.tell"}) {
    SCOPED_TRACE(step);
    const std::string old(kMiB, 'o');
    write_file(pool_.path("pmem0/a"), old, O_CREAT | O_TRUNC);
    kill_at(step, [&] { return start_injecting(); });
    const bool is_recorded = step != "inject.record" && step != "media.write-record";
    expect(is_recorded ? "bad" : old.substr(0, kPageSize));
    pool_.expect_check_passes();
  }
}

TEST_F(PowerCutTest, AtAnyStepOfAClearTheBlockReadsWhatWasWrittenOrIsBad) {
  const std::string fresh(kPageSize, 'n');
  write_file(pool_.directory() + "/new", fresh, O_CREAT);
  for (const std::string step :
       {"clear.write", "clear.persist", "clear.record", "media.write-record"}) {
    SCOPED_TRACE(step);
    write_file(pool_.path("pmem0/a"), std::string(kMiB, 'o'), O_CREAT | O_TRUNC);
    inject("pmem0/a", kAt, kPageSize);
    kill_at(step, [&] { return start_writing(); });
    expect("bad");
    Conversation again = start_writing();
    EXPECT_EQ(again.receive(), "gone");
    EXPECT_EQ(again.process().wait(), 0);
    expect(fresh);
    pool_.kill9();
    pool_.start(daemon_options());
    expect(fresh);
    pool_.expect_check_passes();
  }
}

}  // namespace
}  // namespace pmemd
