// The daemon and a program in one control group with little memory, all of which the program has
// stored to: to free it the daemon has to write it back, which takes memory.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

constexpr uint64_t kLimit = 120 * kMiB;
constexpr uint64_t kPart = 64 * kMiB;
constexpr int kParts = 6;

// A group of the test's own, of whichever version has the memory controller.
class MemoryGroup {
 public:
  MemoryGroup() {
    const std::string name = fmt::format("/pmemd-test.{}", getpid());
    for (const auto& [root, file] : {std::pair("/sys/fs/cgroup", "memory.max"),
                                     std::pair("/sys/fs/cgroup/memory", "memory.limit_in_bytes")}) {
      const std::string path = root + name;
      if (mkdir(path.c_str(), 0755) != 0) continue;
      std::ofstream limit(path + "/" + file, std::ios::in | std::ios::out);
      if (limit && limit << kLimit << std::flush) {
        path_ = path;
        procs_ = path + "/cgroup.procs";
        return;
      }
      rmdir(path.c_str());
    }
  }
  ~MemoryGroup() {
    if (exists()) rmdir(path_.c_str());
  }
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;

  bool exists() const { return !path_.empty(); }
  // Also between fork and exec.
  bool take(pid_t pid) const {
    std::array<char, 16> text{};
    const int length = snprintf(text.data(), text.size(), "%d", pid);
    const UniqueFd procs(open(procs_.c_str(), O_WRONLY | O_CLOEXEC));
    return procs && write(procs.get(), text.data(), static_cast<size_t>(length)) == length;
  }

 private:
  std::string path_, procs_;
};

class MemoryCgroupTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    if (!group_.exists()) GTEST_SKIP() << "no control group with a memory limit can be made";
    // It enters the group before it starts: what it measures is that group's.
    pool_.start({.create = "512M", .args = {"--stall-timeout", "20"}, .before_exec = [this] {
                   if (!group_.take(getpid())) _exit(1);
                 }});
  }
  void store_all(Client& program) {
    ASSERT_TRUE(group_.take(program.process().pid()));
    const std::string path = pool_.path("pmem0/a");
    write_file(path, "");
    ASSERT_EQ(truncate(path.c_str(), kParts * kPart), 0);
    ASSERT_EQ(program.ask(fmt::format("open {} rw", path)), "ok 0");
    for (int part = 0; part < kParts; ++part) {
      ASSERT_EQ(program.ask(fmt::format("map 0 {} {} rw shared", part * kPart, kPart)),
                fmt::format("ok {}", part));
      ASSERT_EQ(program.ask(fmt::format("fill {} {}", part, part)), "ok");
    }
  }

  static void expect_stored(Client& program, int part, int seed) {
    const std::string pages = program.ask(fmt::format("pages {} {}", part, seed));
    EXPECT_EQ(pages, "ok " + std::string(kPart / kPageSize, 'a'));
  }

  const MemoryGroup group_;  // outlives who is in it
  TestPool pool_;
};

TEST_F(MemoryCgroupTest, WhatAProgramStoresBeyondItsLimitIsWrittenBack) {
  Client program;
  ASSERT_NO_FATAL_FAILURE(store_all(program));
  for (int part = 0; part < kParts; ++part) {
    ASSERT_EQ(program.ask(fmt::format("msync {}", part)), "ok");
    expect_stored(program, part, part);
  }
  pool_.stop();
  pool_.expect_check_passes();
}

TEST_F(MemoryCgroupTest, ARemovalAndAStopEndWithoutAWriteback) {
  Client program;
  ASSERT_NO_FATAL_FAILURE(store_all(program));
  const Json report = pool_.ctl_json({"disable-namespace", "namespace0.0", "--force"});
  EXPECT_EQ(report.at("lost_writebacks"), 0) << report.dump(1);
  pool_.ctl_json({"enable-namespace", "namespace0.0"});
  for (int part = 0; part < kParts; ++part) {
    expect_stored(program, part, part);
    ASSERT_EQ(program.ask(fmt::format("fill {} {}", part, part + 100)), "ok");
  }
  pool_.stop();
  pool_.expect_check_passes();
}

}  // namespace
}  // namespace pmemd
