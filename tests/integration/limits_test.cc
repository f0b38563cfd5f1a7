// What one user can't do to others through the mount: keep them from their files, take what all
// share, hold up what the daemon does (docs/security.md).
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "client/pmemd_ioctl.h"
#include "core/base/unique_fd.h"
#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::HasSubstr;

constexpr uid_t kAlice = 65'534, kBob = 65'533;
// daemon/fuse/user_budgets.h
constexpr unsigned kClaimsPerUser = 8'192, kProcessesPerUser = 1'024;

class LimitsTest : public RemovalTest {
 protected:
  void SetUp() override {
    RemovalTest::SetUp();
    if (IsSkipped()) return;
    make_file("pmem0/a", 65536);
    ASSERT_EQ(chmod(path_.c_str(), 0644), 0);
  }
  DaemonOptions daemon_options() const override {
    DaemonOptions options;
    options.allow_other = true;
    return options;
  }
  static std::function<void()> user(uid_t uid) {
    return [uid] { become_user(uid); };
  }
  void open_to_read(Client& client, const std::string& path) {
    ASSERT_EQ(client.ask("open " + path + " ro"), "ok 0");
    ASSERT_EQ(client.ask("map 0 0 4096 r shared"), "ok 0");
  }
  // What the daemon has is as it was; it hears of an end late.
  void wait_for(const std::string& what, uint64_t count) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (pool_.ctl_json({"refs", "namespace0.0"}).at(what) != count) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << what;
    }
  }

  const std::string path_ = pool_.path("pmem0/a");
};

TEST_F(LimitsTest, WhatStopsOthersWantsADescriptorOpenForWriting) {
  for (const char* mode : {"private", "p2p"}) {
    pool_.ctl_json({"create-namespace", "--mode", mode, "--size", "16M"});
  }
  const std::string hmm = pool_.path("hmm0.2"), p2p = pool_.path("p2p0.3");
  for (const std::string& path : {hmm, p2p}) ASSERT_EQ(chmod(path.c_str(), 0644), 0);
  Client reader(user(kAlice));
  open_to_read(reader, path_);
  ASSERT_EQ(reader.ask("open " + hmm + " ro"), "ok 1");
  ASSERT_EQ(reader.ask("open " + p2p + " ro"), "ok 2");
  EXPECT_EQ(reader.ask("pin 0 0 4096"), "error EBADF");
  EXPECT_EQ(reader.ask("migrate 1 0 4096"), "error EBADF");
  EXPECT_EQ(reader.ask("alloc 2 4096"), "error EBADF");
  EXPECT_EQ(as_user(kAlice,
                    [&] {
                      const UniqueFd fd(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
                      pmemd_takeover takeover = {0, 4096, 1000, 0, 0};
                      const int result = ioctl(fd.get(), PMEMD_IOC_TAKEOVER, &takeover);
                      return result == 0 ? std::string("done") : errno_name(errno);
                    }),
            "EBADF");
  EXPECT_EQ(reader.ask("register 0 0 4096 0").substr(0, 3), "ok ") << "to be told stops nobody";
  EXPECT_EQ(truncate(path_.c_str(), 0), 0) << "no reader is in the way";
  force_off();
}

TEST_F(LimitsTest, OneReaderLeavesOthersTheirClaimsAndGetsHisOwnBack) {
  Client hostile(user(kAlice));
  open_to_read(hostile, path_);
  const std::string all = "ok " + std::to_string(kClaimsPerUser) + " error ENOMEM";
  EXPECT_EQ(hostile.ask("repeat 70000 register 0 0 4096 0"), all);
  Client other(user(kBob)), root;
  open_to_read(other, path_);
  EXPECT_THAT(other.ask("repeat 100 register 0 0 4096 0"), HasSubstr("ok 100 "));
  root.map_file(path_, 65536);
  EXPECT_THAT(root.ask("repeat 100 pin 0 0 4096"), HasSubstr("ok 100 "));

  ASSERT_EQ(hostile.ask("close 0"), "ok");
  ASSERT_EQ(hostile.ask("unmap 0"), "ok");
  wait_for("mappings", 100);
  ASSERT_EQ(hostile.ask("open " + path_ + " ro"), "ok 1");
  ASSERT_EQ(hostile.ask("map 1 0 4096 r shared"), "ok 1");
  EXPECT_EQ(hostile.ask("repeat 70000 register 1 0 4096 1"), all) << "what went was given back";
  kill(hostile.pid(), SIGKILL);
  wait_for("mappings", 100);
  Client again(user(kAlice));
  open_to_read(again, path_);
  EXPECT_EQ(again.ask("register 0 0 4096 0").substr(0, 3), "ok ") << "and with the process";
}

// The descriptor is root's, who handed it on; what is claimed through it isn't.
TEST_F(LimitsTest, WhoeverAsksPaysWhoeverOpened) {
  const UniqueFd of_root(open(path_.c_str(), O_RDWR | O_CLOEXEC));
  const auto pin_all = [&] {
    for (unsigned count = 0;; ++count) {
      pmemd_pin pin = {0, 4096, 0};
      if (ioctl(of_root.get(), PMEMD_IOC_PIN, &pin) == 0 && count < 100'000) continue;
      return std::to_string(count) + " " + errno_name(errno);
    }
  };
  EXPECT_EQ(as_user(kAlice, pin_all), std::to_string(kClaimsPerUser) + " ENOMEM");
}

// Each process with a claim costs the daemon a descriptor.
TEST_F(LimitsTest, OneUsersProcessesAreNotWatchedWithoutALimit) {
  const auto told = as_user(kAlice, [&] {
    const UniqueFd fd(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    std::vector<pid_t> children;
    std::string outcome;
    while (outcome.empty() && children.size() < 2 * kProcessesPerUser) {
      Pipe pipe;
      const pid_t child = fork();
      if (child == 0) {
        pmemd_mapping mapping = {0, 4096, 0, 0};
        const int error = ioctl(fd.get(), PMEMD_IOC_MAP, &mapping) == 0 ? 0 : errno;
        (void)!write(pipe.write_end.get(), &error, sizeof(error));
        while (true) pause();
      }
      int error = EAGAIN;
      if (child > 0) (void)!read(pipe.read_end.get(), &error, sizeof(error));
      children.push_back(child);
      if (error != 0) outcome = std::to_string(children.size() - 1) + " " + errno_name(error);
    }
    for (const pid_t child : children) kill(child, SIGKILL);
    for (const pid_t child : children) waitpid(child, nullptr, 0);
    return outcome;
  });
  EXPECT_EQ(told, std::to_string(kProcessesPerUser) + " ENOMEM");
  Client other(user(kBob));
  open_to_read(other, path_);
  EXPECT_EQ(other.ask("register 0 0 4096 0").substr(0, 3), "ok ");
}

// --- leases (fcntl F_SETLEASE) make an open of somebody else wait

class LeaseTest : public LimitsTest {
 protected:
  // The kernel's word that somebody wants to open the file; it would end us.
  void SetUp() override {
    (void)std::signal(SIGIO, SIG_IGN);
    LimitsTest::SetUp();
  }
  // Nobody else may have it open.
  UniqueFd lease(const std::string& path) {
    UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_EQ(fcntl(fd.get(), F_SETLEASE, F_WRLCK), 0) << errno_name(errno);
    return fd;
  }
};

TEST_F(LeaseTest, PrefaultSkipsTheFileAndSaysSo) {
  make_file("pmem0/b", 1 << 20);
  turn_off_and_on();
  const UniqueFd leased = lease(path_);
  // The kernel forgets a file, with its pages, that nobody has open and whose name it doesn't know.
  const UniqueFd other(open(pool_.path("pmem0/b").c_str(), O_RDONLY | O_CLOEXEC));
  const Output output = pool_.ctl({"--json", "prefault", "namespace0.0"});
  EXPECT_EQ(output.code, 0) << output.err;
  EXPECT_THAT(output.err, HasSubstr("/pmem0/a: skipped: it has a lease"));
  EXPECT_EQ(Json::parse(output.out).at("leased_files"), Json({"/pmem0/a"}));
  void* base = mmap(nullptr, 1 << 20, PROT_READ, MAP_SHARED, other.get(), 0);
  std::vector<unsigned char> resident((1 << 20) / kPageSize);
  ASSERT_EQ(mincore(base, 1 << 20, resident.data()), 0);
  EXPECT_EQ(resident.back() & 1, 1) << "the other file was read";
  munmap(base, 1 << 20);
  EXPECT_EQ(fcntl(leased.get(), F_SETLEASE, F_UNLCK), 0);
  EXPECT_FALSE(pool_.ctl_json({"prefault", "namespace0.0"}).contains("leased_files"));
}

TEST_F(LeaseTest, AForcedRemovalFlushesTheFileAllTheSame) {
  const UniqueFd leased = lease(path_);
  void* base = mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, leased.get(), 0);
  ASSERT_NE(base, MAP_FAILED);
  std::memset(base, 'x', 65536);
  const Json report = force_off();
  EXPECT_EQ(report.at("files_flushed"), 1) << "in bulk, not page by page";
  EXPECT_EQ(report.at("lost_writebacks"), 0);
  turn_on();
  EXPECT_EQ(std::string(static_cast<char*>(base), 65536), std::string(65536, 'x'));
  munmap(base, 65536);
}

}  // namespace
}  // namespace pmemd
