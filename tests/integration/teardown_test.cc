// How a removal waits, what it says when it can't end, and what is given up in the end; with steps
// that are made to fail and stall.
#include <gmock/gmock.h>

#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/control_client.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class TeardownTest : public RemovalTest {
 protected:
  DaemonOptions daemon_options() const override { return {.debug_faults = true}; }

  Conversation start_ctl(std::vector<std::string> args) const {
    return Conversation(pool_.ctl_args(std::move(args)));
  }
  static int end_of(Conversation& program) {
    while (program.receive() != "gone") {
    }
    return program.process().wait();
  }
  void fail_at(const std::string& step) {
    EXPECT_EQ(pool_.ctl({"debug", "fail-at", step}).code, 0);
  }
};

// --- --wait

TEST_F(TeardownTest, WaitEndsWhenTheLastUserLetsGo) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  auto removal = start_ctl({"disable-namespace", "namespace0.0", "--wait", "1h"});
  // It is enabled while it waits.
  EXPECT_EQ(client.ask("store 0 0 5"), "ok");
  EXPECT_EQ(client.ask("close 0"), "ok");
  EXPECT_TRUE(removal.process().running());
  EXPECT_EQ(client.ask("unmap 0"), "ok");
  EXPECT_EQ(end_of(removal), 0);
  EXPECT_EQ(listed("namespace0.0").at("state"), "disabled");
}

TEST_F(TeardownTest, WaitThatRunsOutIsRefusedWithTheUsers) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  const Output output = pool_.ctl({"disable-namespace", "namespace0.0", "--wait", "10ms"});
  EXPECT_EQ(output.code, 1);
  EXPECT_THAT(output.err, AllOf(HasSubstr("in use by 1 process"),
                                HasSubstr(std::to_string(client.pid())), HasSubstr("/a")));
  EXPECT_EQ(client.ask("store 0 0 5"), "ok");
  EXPECT_EQ(pool_.ctl({"disable-namespace", "namespace0.0", "--force", "--wait", "1s"}).code, 2);
  EXPECT_EQ(pool_.ctl({"disable-namespace", "namespace0.0", "--abandon"}).code, 2);
}

// --- a reference that nobody puts

TEST_F(TeardownTest, LeakedReferenceIsReportedThenGivenUpAndCounted) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  EXPECT_EQ(client.ask("store 0 0 5"), "ok");
  fail_at("release.leak");
  const std::vector<std::string> forced = {"disable-namespace", "namespace0.0", "--force",
                                           "--drain-timeout", "20ms"};
  const Output first = pool_.ctl(forced);
  EXPECT_EQ(first.code, 1);
  EXPECT_THAT(first.err, AllOf(HasSubstr("namespace0.0: 1 reference that nobody accounts for"),
                               HasSubstr("--abandon")));
  EXPECT_EQ(client.ask("load 0 0"), "ok 5") << "as before";
  EXPECT_THAT(pool_.ctl({"refs", "0.0"}).out, HasSubstr("leaked: 1 reference,"));
  EXPECT_EQ(pool_.ctl(forced).code, 1) << "it is still there";

  auto with_abandon = forced;
  with_abandon.emplace_back("--abandon");
  EXPECT_THAT(pool_.ctl(with_abandon).out, HasSubstr("given up: 1 leaked reference"));
  EXPECT_EQ(pool_.ctl_json({"status"}).at("abandoned"), 1);
  EXPECT_EQ(client.ask("load 0 0").substr(0, 6), "sigbus");
  turn_on();
  EXPECT_EQ(client.ask("load 0 0"), "ok 5");
  EXPECT_EQ(pool_.ctl_json({"refs", "0.0"}).at("unaccounted"), 0) << "of the new life";
  EXPECT_EQ(pool_.ctl(forced).code, 0);
  pool_.stop();
}

// --- failures: the mappers see nothing of a removal that is taken back

TEST_F(TeardownTest, RemovalThatFailsBehindTheRevocationGivesTheMappersTheirBytesBack) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  EXPECT_EQ(client.ask("fill 0 9"), "ok");
  const std::string hash = client.ask("hash 0");
  MonitorProgram monitor(pool_);
  fail_at("disable.drain");
  const Output output = pool_.ctl({"disable-namespace", "namespace0.0", "--force"});
  EXPECT_EQ(output.code, 1);
  EXPECT_THAT(output.err, HasSubstr("disable.drain: made to fail"));
  EXPECT_EQ(client.ask("present 0"), "ok 0") << "the pages had been taken away";
  EXPECT_EQ(client.ask("hash 0"), hash);
  EXPECT_EQ(monitor.next_of_namespace().at("kind"), "pre-remove");
  EXPECT_EQ(monitor.next_of_namespace().at("kind"), "enabled") << "told that it stays";
  make_file("pmem0/b", kMiB);
}

TEST_F(TeardownTest, CreationThatCannotBeEnabledLeavesNothing) {
  pool_.ctl_json({"destroy-namespace", "namespace0.1", "--force"});
  const Json before = pool_.ctl_json({"list", "-R"});
  fail_at("enable.mount");
  EXPECT_EQ(pool_.ctl({"create-namespace", "--size", "64M"}).code, 1);
  EXPECT_TRUE(listed("namespace0.1").is_null());
  EXPECT_EQ(pool_.ctl_json({"list", "-R"}), before);
}

TEST_F(TeardownTest, DestructionThatStopsHalfWayIsGoneAndTheNextOneGetsItsSpace) {
  pool_.ctl_json({"disable-namespace", "namespace0.1"});
  fail_at("destroy.rows");
  const Output output = pool_.ctl({"destroy-namespace", "namespace0.1"});
  EXPECT_EQ(output.code, 1);
  EXPECT_THAT(output.err, HasSubstr("namespace0.1: destroyed, but its space is not free yet"));
  EXPECT_TRUE(listed("namespace0.1").is_null());
  EXPECT_EQ(pool_.ctl({"enable-namespace", "namespace0.1"}).code, 1);
  EXPECT_EQ(pool_.ctl({"create-namespace", "--size", "64M"}).code, 0);
  pool_.stop();
  pool_.expect_check_passes();
}

// --- stalls

TEST_F(TeardownTest, StalledRemovalHoldsUpNobodyElseAndGoesOnWhenCleared) {
  EXPECT_EQ(pool_.ctl({"debug", "fail-at", "disable.revoke", "--delay", "9m"}).code, 0);
  MonitorProgram monitor(pool_);
  auto removal = start_ctl({"disable-namespace", "namespace0.0", "--force"});
  EXPECT_EQ(monitor.next().at("kind"), "pre-remove");
  const Output second = pool_.ctl({"disable-namespace", "namespace0.0", "--force"});
  EXPECT_EQ(second.code, 1);
  EXPECT_THAT(second.err, HasSubstr("another operation is under way"));
  EXPECT_EQ(pool_.ctl({"disable-namespace", "namespace0.1"}).code, 0);
  EXPECT_EQ(pool_.ctl_json({"refs", "0.0"}).at("state"), "dying");
  EXPECT_EQ(pool_.ctl({"debug", "clear"}).code, 0);
  EXPECT_EQ(end_of(removal), 0);
}

TEST_F(TeardownTest, StalledRemovalDoesNotKeepTheDaemonFromEnding) {
  EXPECT_EQ(pool_.ctl({"debug", "fail-at", "disable.flush", "--delay", "9m"}).code, 0);
  MonitorProgram monitor(pool_);
  auto removal = start_ctl({"disable-namespace", "namespace0.0", "--force"});
  EXPECT_EQ(monitor.next().at("kind"), "pre-remove");
  pool_.stop();
  (void)end_of(removal);
  pool_.expect_check_passes();
}

// --- one right for all of a verb: what it has found out stays true until it is done

TEST_F(TeardownTest, WhatIsBeingDestroyedCannotBeEnabled) {
  ControlClient control(pool_.socket());
  stall_at(control, "destroy.begin");
  auto destruction = start_ctl({"destroy-namespace", "namespace0.0", "--force"});
  wait_until_stalled(control, "destroy.begin");
  const Output enable = pool_.ctl({"enable-namespace", "namespace0.0"});
  EXPECT_EQ(enable.code, 1);
  EXPECT_THAT(enable.err, HasSubstr("another operation is under way"));
  EXPECT_EQ(pool_.ctl({"enable-region", "region0"}).code, 1);
  ASSERT_TRUE(control.call("ClearFaults").done());
  EXPECT_EQ(end_of(destruction), 0);
  EXPECT_TRUE(listed("namespace0.0").is_null());
}

TEST_F(TeardownTest, LegThatGetsItsFirstFileMeanwhileIsNotOverwritten) {
  ControlClient control(pool_.socket());
  stall_at(control, "disable.kill");
  auto creation = start_ctl({"create-volume", "namespace0.0"});
  wait_until_stalled(control, "disable.kill");
  write_file(pool_.path("pmem0/precious"), "data");
  ASSERT_TRUE(control.call("ClearFaults").done());
  EXPECT_EQ(end_of(creation), 1);
  EXPECT_EQ(read_file(pool_.path("pmem0/precious")), "data");
  EXPECT_FALSE(listed("namespace0.0").contains("state")) << "enabled, as before";
}

// --- the verb

TEST_F(TeardownTest, WrongArgumentsAreToldWithAWayOn) {
  EXPECT_EQ(pool_.ctl({"debug"}).code, 2);
  EXPECT_EQ(pool_.ctl({"debug", "fail-at"}).code, 2);
  EXPECT_EQ(pool_.ctl({"debug", "fail-at", "disable.flush", "--count", "0"}).code, 2);
  EXPECT_EQ(pool_.ctl({"debug", "fail-at", "disable.flush", "--count", "x"}).code, 2);
  const Output unknown = pool_.ctl({"debug", "fail-at", "disable.nothing"});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.err,
              AllOf(HasSubstr("disable.nothing: no such step"), HasSubstr("pmemctl debug list")));
  EXPECT_EQ(pool_.ctl({"debug", "fail-at", "disable.flush", "--delay", "11m"}).code, 1);
  EXPECT_THAT(pool_.ctl({"debug", "list"}).out,
              AllOf(HasSubstr("STEP"), HasSubstr("enable.publish"), HasSubstr("destroy.rows")));
}

class FaultsOffTest : public RemovalTest {};

TEST_F(FaultsOffTest, NoStepIsMadeToFailUnlessTheDaemonWasStartedForIt) {
  const Output output = pool_.ctl({"debug", "fail-at", "disable.flush"});
  EXPECT_EQ(output.code, 1);
  EXPECT_THAT(output.err, HasSubstr("--debug-faults"));
  EXPECT_EQ(pool_.ctl({"debug", "clear"}).code, 1);
  EXPECT_EQ(pool_.ctl({"debug", "list"}).code, 0);
  force_off();
}

}  // namespace
}  // namespace pmemd
