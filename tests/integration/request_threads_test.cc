// A request that has to wait keeps no other from being served, though one thread alone reads them.
#include <sys/stat.h>

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
};

TEST_F(RequestThreadsTest, StalledWriteHoldsUpNobodyElse) {
  make_file("pmem0/a", kMiB);
  make_file("pmem0/b", kMiB);
  pool_.ctl_json(
      {"inject-error", "--file", pool_.path("pmem0/a"), "--offset", "4096", "--length", "4096"});
  ask_shortly();
  ControlClient control(pool_.socket());
  stall_at(control, "clear.write");
  Conversation writer({"dd", "if=/dev/zero", "of=" + pool_.path("pmem0/a"), "bs=4096", "count=1",
                       "seek=1", "conv=notrunc", "status=none"});
  // A process in the middle of a request can't be killed: whatever goes wrong, it goes on.
  const std::unique_ptr<ControlClient, void (*)(ControlClient*)> at_the_end(
      &control, [](ControlClient* client) { (void)client->call("ClearFaults"); });
  wait_until_stalled(control, "clear.write");
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
