// A request that has to wait keeps no other from being served, though one thread alone reads them.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "core/base/units.h"
#include "tests/integration/support/control_client.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

class RequestThreadsTest : public RemovalTest {
 protected:
  ~RequestThreadsTest() override {
    // A process in the middle of a request can't be killed: whatever goes wrong, it goes on.
    if (control_) (void)control_->call("ClearFaults");
  }
  DaemonOptions daemon_options() const override { return {.debug_faults = true}; }

  // Short requests, one after the other, until one thread is enough for them. Lookups of names that
  // aren't there: the kernel asks for each.
  void ask_shortly() const {
    struct stat st = {};
    for (int i = 0; i < 500; ++i) (void)stat(pool_.path("pmem0/" + std::to_string(i)).c_str(), &st);
  }
  // So many processes, each in a WRITE of its own that stalls until the faults are cleared.
  void stall_writes(int count) {
    control_.emplace(pool_.socket());
    for (int i = 0; i < count; ++i) {
      const std::string name = "pmem0/w" + std::to_string(i);
      make_file(name, 2 * kPageSize);
      const auto injected = control_->call(
          "InjectError", {{"file", "/" + name}, {"offset", kPageSize}, {"length", kPageSize}});
      ASSERT_TRUE(injected.done()) << injected.message();
    }
    ask_shortly();
    ASSERT_TRUE(
        control_->call("FailAt", {{"step", "clear.write"}, {"delay_ms", 600'000}, {"count", count}})
            .done());
    for (int i = 0; i < count; ++i) {
      writers_.push_back(std::make_unique<Conversation>(std::vector<std::string>{
          "dd", "if=/dev/zero", "of=" + pool_.path("pmem0/w" + std::to_string(i)), "bs=4096",
          "count=1", "seek=1", "conv=notrunc", "status=none"}));
    }
  }

  std::optional<ControlClient> control_;
  std::vector<std::unique_ptr<Conversation>> writers_;
};

TEST_F(RequestThreadsTest, StalledWriteHoldsUpNobodyElse) {
  make_file("pmem0/b", kMiB);
  stall_writes(1);
  wait_until_stalled(*control_, "clear.write");
  // By programs of their own: this one must not hang where it goes wrong.
  run_ok({"touch", pool_.path("pmem0/new")});
  run_ok({"cat", pool_.path("pmem0/b")});
  run_ok({"rm", pool_.path("pmem0/new")});
  EXPECT_TRUE(writers_[0]->process().running());
  ASSERT_TRUE(control_->call("ClearFaults").done());
  EXPECT_EQ(writers_[0]->receive(), "gone");
  EXPECT_EQ(writers_[0]->process().wait(), 0);
}

// As many as there are threads at first, and more: others are added.
TEST_F(RequestThreadsTest, AsManyStalledWritesAsThreadsHoldUpNobodyElse) {
  constexpr int kWrites = 12;
  ASSERT_LT(std::thread::hardware_concurrency(), unsigned{kWrites}) << "threads at the start";
  stall_writes(kWrites);
  wait_until_stalled(*control_, "clear.write");
  run_ok({"touch", pool_.path("pmem0/new")});
  ASSERT_TRUE(control_->call("ClearFaults").done());
  for (const auto& writer : writers_) EXPECT_EQ(writer->process().wait(), 0);
}

class StallTimeoutTest : public RequestThreadsTest {
 protected:
  DaemonOptions daemon_options() const override {
    return {.debug_faults = true, .args = {"--stall-timeout", "1"}};
  }
};

// The last resort: there are no more threads to be had, and nothing moves. Nobody waits for ever.
TEST_F(StallTimeoutTest, WhenNothingMovesTheMountEndsAndSoDoWhoWaits) {
  if (geteuid() != 0 && !std::filesystem::exists("/sys/fs/fuse/connections/waiting")) {
    GTEST_SKIP() << "without root and fusectl nobody can abort a connection";
  }
  stall_writes(66);  // FuseServer::kMaxThreads, and two that wait
  EXPECT_EQ(pool_.daemon().wait(), 1);
  for (const auto& writer : writers_) EXPECT_NE(writer->process().wait(), 0);
  EXPECT_NE(pool_.log().find("no request goes on"), std::string::npos) << pool_.log();
  EXPECT_FALSE(is_mount_point(pool_.mount()));
  control_.reset();
  pool_.start({.create = ""});
  EXPECT_EQ(read_file(pool_.path("pmem0/w0")).size(), 2 * kPageSize);
}

}  // namespace
}  // namespace pmemd
