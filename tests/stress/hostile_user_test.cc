// A campaign: an unprivileged user does all the harm it can to a mount that it may use
// (tests/stress/support/hostile_user.h), while another user's files are checked against a plain
// model, and root works, too. Nothing that they do fails or takes long, no byte is wrong;
// afterwards the daemon lives, can be removed from under the hostile user, holds together, and is
// no larger than before.
//
// PMEMD_HOSTILE_SECONDS says how long (6); PMEMD_HOSTILE_SEED where to begin (printed). What
// interrupts what is up to the scheduler; all else follows from the seed.
#include "tests/stress/support/hostile_user.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "client/pmemd_ioctl.h"
#include "tests/integration/support/file_model.h"
#include "tests/integration/support/harness.h"
#include "tests/sanitizer.h"

namespace pmemd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr uid_t kHostile = 65'534, kVictim = 65'533;
constexpr unsigned kHostileProcesses = 4;
constexpr seconds kOperationDeadline{20};  // of each operation of others
constexpr uint64_t kMaxGrowthKib = 64 * 1024;
// daemon/fuse/user_budgets.h
constexpr uint64_t kHandlesPerUser = 65'536, kClaimsPerUser = 8'192;

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// What another user does with its own files, and what it is told. Throws at the first thing that is
// wrong.
class Victim {
 public:
  Victim(const std::string& directory, uint64_t seed) : model_(directory + "/model", seed) {
    umask(0);
    const std::string path = directory + "/pinned";
    fd_.reset(open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd_) throw_errno(path);
  }

  void step() {
    timed("an operation on the model", [&] {
      if (!model_.step()) throw std::runtime_error("EIO");
    });
    if (++steps_ % 8 == 0) use_claims();
    if (steps_ % 64 == 0) compare();
  }
  void compare() {
    const std::string difference = model_.compare();
    if (!difference.empty()) throw std::runtime_error(difference);
  }
  std::string told() const {
    return fmt::format("{} operations, the longest took {} ms", model_.operations(),
                       std::chrono::duration_cast<milliseconds>(longest_).count());
  }

 private:
  template <class Operation>
  void timed(const char* what, const Operation& operation) {
    const auto begin = steady_clock::now();
    operation();
    const auto took = steady_clock::now() - begin;
    longest_ = std::max(longest_, took);
    if (took > kOperationDeadline) throw std::runtime_error(fmt::format("{} took too long", what));
  }
  void must(const char* what, int result) {
    if (result != 0) throw_errno(what);
  }
  void use_claims() {
    timed("a claim", [&] {
      pmemd_pin pin = {0, 8192, 0};
      must("pin", ioctl(fd_.get(), PMEMD_IOC_PIN, &pin));
      pmemd_mapping mapping = {0, 4096, 4096, 0};
      must("map", ioctl(fd_.get(), PMEMD_IOC_MAP, &mapping));
      pmemd_takeover takeover = {0, 4096, 100, 0, 0};
      must("takeover", ioctl(fd_.get(), PMEMD_IOC_TAKEOVER, &takeover));
      must("end takeover", ioctl(fd_.get(), PMEMD_IOC_END_TAKEOVER, &takeover.id));
      must("unmap", ioctl(fd_.get(), PMEMD_IOC_UNMAP, &mapping.id));
      must("unpin", ioctl(fd_.get(), PMEMD_IOC_UNPIN, &pin.id));
      must("truncate: no pin is left", ftruncate(fd_.get(), 4096));
      must("truncate", ftruncate(fd_.get(), 8192));
    });
  }

  FileModel model_;
  UniqueFd fd_;
  uint64_t steps_ = 0;
  steady_clock::duration longest_{};
};

class HostileUserTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    seed_ = number_from("PMEMD_HOSTILE_SEED", std::random_device()());
    std::cout << "PMEMD_HOSTILE_SEED=" << seed_ << std::endl;
    pool_.start({.create = "512M", .allow_other = true});
    pool_.ctl_json({"destroy-namespace", "namespace0.0", "--force"});
    pool_.ctl_json({"create-namespace", "--size", "256M"});
    for (const char* mode : {"devdax", "private", "p2p"}) {
      pool_.ctl_json({"create-namespace", "--mode", mode, "--size", "32M"});
    }
    make_directory("hostile", kHostile);
    for (const uid_t uid : {kVictim, uid_t{0}}) {
      make_directory(name_of(uid), uid);
      make_directory(name_of(uid) + "/model", uid);
      const std::string pinned = path_of(name_of(uid)) + "/pinned";
      write_file(pinned, pattern(1, 8192));
      EXPECT_EQ(chmod(pinned.c_str(), 0644), 0);
      EXPECT_EQ(chown(pinned.c_str(), uid, uid), 0);
      field_.others.push_back(pinned);
      field_.others.push_back(path_of(name_of(uid)) + "/model");
    }
    for (const char* name : {"dax0.1", "hmm0.2", "p2p0.3"}) {
      field_.devices.push_back(pool_.path(name));
      EXPECT_EQ(chmod(field_.devices.back().c_str(), 0666), 0);
    }
    field_.own = path_of("hostile");
    field_.control = pool_.socket();
    before_kib_ = anonymous_kib();
  }

  static std::string name_of(uid_t uid) { return uid == 0 ? "root" : "victim"; }
  std::string path_of(const std::string& name) const { return pool_.path("pmem0/" + name); }
  void make_directory(const std::string& name, uid_t uid) {
    EXPECT_EQ(mkdir(path_of(name).c_str(), 0755), 0) << errno_name(errno);
    EXPECT_EQ(chown(path_of(name).c_str(), uid, uid), 0);
  }

  // What the daemon has that no file backs.
  uint64_t anonymous_kib() {
    std::ifstream status(fmt::format("/proc/{}/status", pool_.daemon().pid()));
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8));
    }
    return 0;
  }

  void expect_small() {
    if (kHasSanitizer) return;  // it keeps what is freed
    const uint64_t kib = anonymous_kib();
    std::cout << fmt::format("the daemon has {} KiB, and had {}\n", kib, before_kib_);
    EXPECT_LE(kib, before_kib_ + kMaxGrowthKib);
  }

  // A process of a user's. Like Conversation, but it runs a function of ours.
  class Forked {
   public:
    // What the function is given: tell() says a line to the parent, wait() waits for its go().
    struct Parent {
      const Pipe& told;
      const Pipe& go;
      void tell(const std::string& text) const {
        const std::string line = text + "\n";
        (void)!write(told.write_end.get(), line.data(), line.size());
      }
      void wait() const {
        char byte = 0;
        (void)!read(go.read_end.get(), &byte, 1);
      }
    };

    // When the function returns, the process waits to be killed.
    Forked(uid_t uid, const std::function<void(const Parent&)>& work) : pid_(fork()) {
      if (pid_ < 0) throw_errno("fork");
      if (pid_ != 0) {
        told_.write_end.reset();
        return;
      }
      become_user(uid);
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const Parent parent{told_, go_};
      try {
        work(parent);
      } catch (const std::exception& wrong) {
        parent.tell(fmt::format("wronged: {}", wrong.what()));
      }
      while (true) pause();
    }
    ~Forked() {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    Forked(const Forked&) = delete;
    Forked& operator=(const Forked&) = delete;

    std::string receive(seconds patience) {
      if (!wait_readable(told_.read_end.get(), steady_clock::now() + patience)) return "silence";
      std::string text(512, '\0');
      const ssize_t got = read(told_.read_end.get(), text.data(), text.size());
      if (got <= 0) return "its end";
      text.resize(static_cast<size_t>(got) - 1);
      return text;
    }
    void go() { (void)!write(go_.write_end.get(), "", 1); }

   private:
    Pipe told_, go_;
    pid_t pid_ = -1;
  };

  // Another user works until then, tells how it went, and compares once more when it may go.
  std::unique_ptr<Forked> work_as(uid_t uid, steady_clock::time_point end) {
    return std::make_unique<Forked>(uid, [&, uid, end](const Forked::Parent& parent) {
      Victim victim(path_of(name_of(uid)), seed_ + uid);
      do {
        victim.step();
      } while (steady_clock::now() < end);
      victim.compare();
      parent.tell("well: " + victim.told());
      parent.wait();
      victim.compare();
      parent.tell("well");
    });
  }

  TestPool pool_{Storage::kMemory};
  Battlefield field_;
  uint64_t seed_ = 0;
  uint64_t before_kib_ = 0;
};

TEST_F(HostileUserTest, WhoTakesAllThatHeGetsLeavesOthersTheirs) {
  rlimit files = {};
  getrlimit(RLIMIT_NOFILE, &files);
  const uint64_t processes = kHandlesPerUser / (files.rlim_max - 64) + 2;
  if (processes > 100) GTEST_SKIP() << "a process may have too few descriptors";
  std::vector<std::unique_ptr<Forked>> hostile;
  for (uint64_t i = 0; i < processes; ++i) {
    hostile.push_back(std::make_unique<Forked>(kHostile, [&](const Forked::Parent& parent) {
      HostileUser user(field_, seed_ + i);
      const auto taken = user.take_everything();
      parent.tell(fmt::format("{} {} {}", taken.handles, taken.claims, taken.why));
      parent.wait();
    }));
  }
  uint64_t handles = 0, claims = 0;
  for (const auto& process : hostile) {
    std::istringstream told(process->receive(seconds(120)));
    uint64_t its_handles = 0, its_claims = 0;
    std::string why, why_no_claim;
    told >> its_handles >> its_claims >> why >> why_no_claim;
    handles += its_handles;
    claims += its_claims;
    EXPECT_EQ(why, "EMFILE");
    EXPECT_TRUE(its_handles == 0 || why_no_claim == "ENOMEM") << why_no_claim;
  }
  EXPECT_EQ(handles, kHandlesPerUser);
  EXPECT_EQ(claims, kClaimsPerUser);
  for (const uid_t uid : {kVictim, uid_t{0}}) {
    const auto other = work_as(uid, steady_clock::now() + seconds(1));
    EXPECT_THAT(other->receive(4 * kOperationDeadline), StartsWith("well: "));
  }
  expect_small();
}

TEST_F(HostileUserTest, NobodyElseIsHarmed) {
  const seconds time(number_from("PMEMD_HOSTILE_SECONDS", 6));
  const auto end = steady_clock::now() + time;
  std::vector<std::unique_ptr<Forked>> hostile, others;
  for (unsigned i = 0; i < kHostileProcesses; ++i) {
    hostile.push_back(
        std::make_unique<Forked>(kHostile, [&, seed = seed_ + i](const Forked::Parent& parent) {
          HostileUser user(field_, seed);
          parent.tell(fmt::format("{} attacks", user.run(end)));
          parent.wait();
        }));
  }
  for (const uid_t uid : {kVictim, uid_t{0}}) others.push_back(work_as(uid, end));
  for (const auto& other : others) {
    const std::string told = other->receive(time + 4 * kOperationDeadline);
    EXPECT_THAT(told, StartsWith("well: "));
    std::cout << told << std::endl;
  }
  for (const auto& process : hostile) {
    EXPECT_THAT(process->receive(time + 4 * kOperationDeadline), HasSubstr(" attacks"));
  }

  // It has pins, buffers, leases, mappings and events that it doesn't read, still.
  for (const char* name : {"namespace0.0", "namespace0.1", "namespace0.2", "namespace0.3"}) {
    const std::string how = std::string(name) == "namespace0.3" ? "--surprise" : "--abandon";
    const Json report =
        pool_.ctl_json({"disable-namespace", name, "--force", "--drain-timeout", "200ms", how});
    EXPECT_EQ(report.at("pages_left"), 0) << report.dump();
    EXPECT_EQ(report.at("lost_writebacks"), 0) << report.dump();
    pool_.ctl_json({"enable-namespace", name});
  }
  for (const auto& other : others) {
    other->go();
    EXPECT_EQ(other->receive(4 * kOperationDeadline), "well") << "what was theirs is theirs again";
  }
  hostile.clear();
  others.clear();
  EXPECT_TRUE(pool_.daemon().running());
  expect_small();
  pool_.expect_check_passes();
  pool_.stop();
  pool_.expect_check_passes();
}

}  // namespace
}  // namespace pmemd
