// A request that has to wait keeps no other from being served, though one thread alone reads them.
#include <sys/stat.h>

#include <chrono>
#include <memory>

#include "core/base/units.h"
#include "tests/integration/control_client.h"
#include "tests/integration/removal_fixture.h"

namespace pmemd {
namespace {

class RequestThreadsTest : public RemovalTest {
 protected:
  DaemonOptions daemon_options() const override { return {.debug_faults = true}; }

  // Short requests, one after the other, until one thread is enough for them. Lookups of names that
  // aren't there: the kernel asks for each.
  void ask_shortly() const {
    struct stat st = {};
    for (int i = 0; i < 500; ++i) (void)stat(pool_.path("pmem0/" + std::to_string(i)).c_str(), &st);
  }
  static bool is_reached(ControlClient& control, const std::string& step) {
    const Json faults = control.call("ListFaults").parameters.at("faults");
    for (const Json& fault : faults) {
      if (fault.at("step") == step) return fault.at("left") == 0;
    }
    return false;
  }
};

TEST_F(RequestThreadsTest, StalledWriteHoldsUpNobodyElse) {
  make_file("pmem0/a", kMiB);
  make_file("pmem0/b", kMiB);
  pool_.ctl_json(
      {"inject-error", "--file", pool_.path("pmem0/a"), "--offset", "4096", "--length", "4096"});
  ask_shortly();
  ControlClient control(pool_.socket());
  ASSERT_TRUE(control.call("FailAt", {{"step", "clear.write"}, {"delay_ms", 600'000}}).done());
  Conversation writer({"dd", "if=/dev/zero", "of=" + pool_.path("pmem0/a"), "bs=4096", "count=1",
                       "seek=1", "conv=notrunc", "status=none"});
  // A process in the middle of a request can't be killed: whatever goes wrong, it goes on.
  const std::unique_ptr<ControlClient, void (*)(ControlClient*)> at_the_end(
      &control, [](ControlClient* client) { (void)client->call("ClearFaults"); });
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!is_reached(control, "clear.write")) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  }
  // By programs of their own: this one must not hang where it goes wrong.
  run_ok({"touch", pool_.path("pmem0/new")});
  run_ok({"cat", pool_.path("pmem0/b")});
  run_ok({"rm", pool_.path("pmem0/new")});
  EXPECT_TRUE(writer.process().running());
  ASSERT_TRUE(control.call("ClearFaults").done());
  EXPECT_EQ(writer.receive(), "gone");
  EXPECT_EQ(writer.process().wait(), 0);
}

}  // namespace
}  // namespace pmemd
