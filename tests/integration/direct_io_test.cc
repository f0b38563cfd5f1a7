// O_DIRECT whose buffers are mapped files of the same mount: what would have the daemon wait for
// itself, if the kernel touched a program's buffer inside one of its replies.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>
#include <string>

#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/control_client.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

class DirectIoTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    // Where it goes wrong it ends: the mount, the processes, and the test.
    pool_.start({.allow_other = true, .debug_faults = true, .args = {"--stall-timeout", "15"}});
  }
  TestPool pool_{Storage::kMemory};
};

// More processes than there may be request threads: if each could hold one, none would be left.
TEST_F(DirectIoTest, ARingOfBuffersOfAnOrdinaryUserHangsNobody) {
  const std::string directory = pool_.path("pmem0/user");
  run_ok({"install", "-d", "-m", "777", directory});
  run_ok({"chmod", "755", pool_.directory()});
  const auto become_user = [] {
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(1);
  };
  Conversation ring(
      {program("pmemd_test_direct_io_ring"), directory, "150", std::to_string(64 * kKiB), "40"},
      geteuid() == 0 ? become_user : std::function<void()>());
  std::string said = "";
  while (said != "done" && said != "gone") {
    run_ok({"ls", pool_.mount()});  // the others go on meanwhile
    if (wait_readable(ring.process().pidfd(), std::chrono::steady_clock::now())) {
      said = ring.receive();
    }
  }
  EXPECT_EQ(said, "done");
  EXPECT_EQ(ring.process().wait(), 0);
  write_file(pool_.path("pmem0/after"), "still there");
  pool_.stop();
  EXPECT_EQ(pool_.log().find("no request goes on"), std::string::npos) << pool_.log();
}

class AsynchronousWriteTest : public DirectIoTest,
                              public testing::WithParamInterface<const char*> {};

// Which the kernel does only when it wasn't asked for asynchronous direct I/O.
TEST_P(AsynchronousWriteTest, WhatIsReadMeanwhileIsDroppedBehindIt) {
  pool_.make_two_namespaces();
  const std::string path = pool_.path(GetParam());
  {
    const UniqueFd fd(open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    const std::string old(4 * kPageSize, 'o');
    ASSERT_EQ(write(fd.get(), old.data(), old.size()), ssize_t{4 * kPageSize});
  }
  ControlClient control(pool_.socket());
  // A write of bad bytes makes them good, and can be made to stall meanwhile.
  ASSERT_TRUE(control
                  .call("InjectError", {{"file", "/" + std::string(GetParam())},
                                        {"offset", kPageSize},
                                        {"length", kPageSize}})
                  .done());
  Client writer;
  EXPECT_EQ(writer.ask("open " + path + " direct"), "ok 0");
  stall_at(control, "clear.write");
  writer.send("aio 0 0 " + std::to_string(2 * kPageSize) + " n");
  wait_until_stalled(control, "clear.write");
  // What its first page is made of.
  const auto first_page = [&] {
    const std::string bytes = run_ok({"head", "-c", "4096", path});
    return std::set<char>(bytes.begin(), bytes.end());
  };
  EXPECT_EQ(first_page(), std::set{'o'}) << "it isn't written yet";
  ASSERT_TRUE(control.call("ClearFaults").done());
  EXPECT_EQ(writer.receive(), "ok");
  EXPECT_EQ(first_page(), std::set{'n'});
}

INSTANTIATE_TEST_SUITE_P(On, AsynchronousWriteTest, testing::Values("pmem0/a", "dax0.1"),
                         [](const auto& of) {
                           return std::string(of.param[0] == 'p' ? "Fsdax" : "Devdax");
                         });

}  // namespace
}  // namespace pmemd
