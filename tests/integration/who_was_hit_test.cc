// Whom reports, `mappers` and events name: also who is gone by then, who has a file from elsewhere,
// and what the kernel itself holds.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "core/base/unique_fd.h"
#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/mapper.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

// Stores and syncs until that fails.
constexpr const char* kSyncs = R"(
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
memory = mmap.mmap(fd, 65536)
memory[0] = 1
memory.flush()
print('ready', flush=True)
while True:
    memory[0] = memory[0] + 1 & 255
    try:
        memory.flush()
    except OSError:
        os._exit(3)
)";

class WhoWasHitTest : public RemovalTest {
 protected:
  void SetUp() override {
    RemovalTest::SetUp();
    if (IsSkipped()) return;
    std::filesystem::create_directory(pool_.path("pmem0/dir"));
    make_file("pmem0/dir/f", 65536);
    path_ = pool_.path("pmem0/dir/f");
  }
  DaemonOptions daemon_options() const override { return {.debug_faults = true}; }

  // A removal that stalls before a step, until go_on().
  Conversation stalled_removal(const std::string& step) const {
    EXPECT_EQ(pool_.ctl({"debug", "fail-at", step, "--delay", "9m"}).code, 0);
    return Conversation(pool_.ctl_args({"--json", "disable-namespace", "namespace0.0", "--force"}));
  }
  Json go_on(Conversation& removal) const {
    EXPECT_EQ(pool_.ctl({"debug", "clear"}).code, 0);
    std::string text;
    for (std::string line; (line = removal.receive()) != "gone";) text += line;
    EXPECT_EQ(removal.process().wait(), 0);
    return Json::parse(text);
  }
  void wait_until_stalled(const std::string& step) const {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (true) {
      for (const Json& fault : pool_.ctl_json({"debug", "list"})) {
        if (fault.at("step") == step && fault.at("hits") != 0) return;
      }
      if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("never got there");
    }
  }

  // The file's directory, mounted where the mount doesn't reach.
  std::string bind_directory() const {
    const std::string at = pool_.directory() + "/bind";
    std::filesystem::create_directory(at);
    EXPECT_EQ(::mount(pool_.path("pmem0/dir").c_str(), at.c_str(), nullptr, MS_BIND, nullptr), 0);
    return at;
  }

  std::string path_;
};

TEST_F(WhoWasHitTest, WhoEndsAtTheFirstFailedSyncIsInTheReport) {
  Conversation program({"python3", "-c", kSyncs, path_});
  ASSERT_EQ(program.receive(), "ready");
  Conversation removal = stalled_removal("disable.notify");  // nobody is told yet
  ASSERT_EQ(program.process().wait(), 3);
  const Json report = go_on(removal);
  const Json hit = holder(report, program.pid());
  EXPECT_EQ(hit.at("became"), "ended");
  // Since Linux 6.15 of a process that was reaped.
  EXPECT_THAT(hit.value("ended_by", ""), AnyOf("exit 3", ""));
  EXPECT_EQ(hit.at("mappings").at(0).at("file"), "/pmem0/dir/f");
}

TEST_F(WhoWasHitTest, WhoEndsWhenItIsToldIsInTheReport) {
  MapperProgram mapper;
  ASSERT_EQ(mapper.ask("open " + path_ + " rw"), "ok 0");
  mapper.number("register 0 0 65536");
  ASSERT_EQ(mapper.ask("write 0 0 4096"), "ok");
  Conversation removal = stalled_removal("disable.unpin");
  ASSERT_EQ(mapper.event("wait 0").kind, 2u);
  mapper.process().signal(SIGBUS);  // as the shim raises it for an early kill
  ASSERT_EQ(mapper.process().wait(), 128 + SIGBUS);
  const Json report = go_on(removal);
  EXPECT_EQ(holder(report, mapper.pid()).at("became"), "ended");
}

TEST_F(WhoWasHitTest, WhoLetsGoWithinTheGraceHasLetGo) {
  MapperProgram mapper;
  ASSERT_EQ(mapper.ask("open " + path_ + " rw"), "ok 0");
  mapper.number("register 0 0 65536");
  Conversation removal(
      pool_.ctl_args({"disable-namespace", "namespace0.0", "--force", "--grace", "1h"}));
  ASSERT_EQ(mapper.event("wait 0").kind, 2u);
  ASSERT_EQ(mapper.ask("close 0"), "ok");
  std::string text;
  for (std::string line; (line = removal.receive()) != "gone";) text += line + "\n";
  EXPECT_EQ(removal.process().wait(), 0);
  EXPECT_THAT(text, HasSubstr("0 processes lost it, 1 let go before"));
}

TEST_F(WhoWasHitTest, WhoIsKilledHasEnded) {
  Client client;
  client.map_file(path_, 65536);
  const Json report = force_off("--kill");
  EXPECT_EQ(holder(report, client.pid()).at("became"), "ended");
  EXPECT_EQ(holder(report, client.pid()).at("ended_by"), "SIGKILL");
}

TEST_F(WhoWasHitTest, AFileIsNamedByItsInodeThroughABindMount) {
  const std::string bind = bind_directory();
  Client client;
  client.map_file(bind + "/f", 65536);
  const Json who = as_array(pool_.ctl_json({"mappers"})).at(0);
  EXPECT_EQ(who.at("mappings").at(0).at("file"), "/pmem0/dir/f");
  EXPECT_EQ(who.at("open_files").at(0).at("file"), "/pmem0/dir/f");
  for (const Json& reference : pool_.ctl_json({"refs", "namespace0.0"}).at("references")) {
    EXPECT_EQ(reference.value("file", "/pmem0/dir/f"), "/pmem0/dir/f");
  }
  EXPECT_THAT(pool_.ctl({"disable-namespace", "namespace0.0"}).err, HasSubstr("/pmem0/dir/f"));

  const Json report = pool_.ctl_json({"inject-error", "--file", bind + "/f", "--length", "4096"});
  EXPECT_EQ(as_array(report).at(0).at("files").at(0).at("file"), "/pmem0/dir/f");
  EXPECT_EQ(as_array(report).at(0).at("holders").at(0).at("pid"), client.pid());
  const Output elsewhere = pool_.ctl({"inject-error", "--file", pool_.directory()});
  EXPECT_NE(elsewhere.code, 0);
  EXPECT_THAT(elsewhere.err, HasSubstr("not in the mount"));

  force_off();
  EXPECT_EQ(as_array(pool_.ctl_json({"mappers"})).at(0).at("mappings").at(0).at("file"),
            "/pmem0/dir/f")
      << "also while it is disabled";
  ASSERT_EQ(::umount2(bind.c_str(), MNT_DETACH), 0);
}

TEST_F(WhoWasHitTest, AFileIsNamedByItsInodeFromAnotherMountNamespace) {
  const std::string elsewhere = pool_.directory() + "/elsewhere";
  std::filesystem::create_directory(elsewhere);
  Conversation client({"unshare", "-m", "sh", "-c", "mount --bind \"$1\" \"$2\" && exec \"$3\"",
                       "sh", pool_.path("pmem0"), elsewhere, program("pmemd_test_client")});
  ASSERT_EQ(client.ask("open " + elsewhere + "/dir/f rw"), "ok 0");
  ASSERT_EQ(client.ask("map 0 0 65536 rw shared"), "ok 0");
  const Json report = force_off();
  EXPECT_EQ(holder(report, client.pid()).at("mappings").at(0).at("file"), "/pmem0/dir/f");
}

TEST_F(WhoWasHitTest, WhoFollowsAFileHearsThatItIsGoneAndThatItIsBack) {
  const std::string bind = bind_directory();
  Client client;
  client.map_file(bind + "/f", 65536);
  Conversation monitor(pool_.ctl_args({"--json", "monitor", "--file", "/pmem0/dir/*"}));
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (pool_.ctl_json({"status"}).at("subscribers") == 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  }
  turn_off_and_on();
  std::vector<std::string> told;
  while (told.empty() || told.back() != "enabled") {
    const Json event = Json::parse(monitor.receive());
    told.push_back(event.at("kind").get<std::string>() + (event.contains("file") ? " of it" : ""));
    EXPECT_EQ(event.value("file", "/pmem0/dir/f"), "/pmem0/dir/f");
  }
  EXPECT_EQ(told,
            (std::vector<std::string>{"pre-remove", "pre-remove of it", "removed", "enabled"}));
  ASSERT_EQ(::umount2(bind.c_str(), MNT_DETACH), 0);
}

TEST_F(WhoWasHitTest, NamesOfAnyBytesAreTheSameForMappingsAndOpenFiles) {
  const std::string name = "two\nlines \\012";
  make_file("pmem0/" + name, 65536);
  Conversation client({"python3", "-c", kSyncs, pool_.path("pmem0/" + name)});
  ASSERT_EQ(client.receive(), "ready");
  const Json who = as_array(pool_.ctl_json({"mappers"})).at(0);
  EXPECT_EQ(who.at("mappings").at(0).at("file"), "/pmem0/" + name);
  EXPECT_EQ(who.at("open_files").at(0).at("file"), "/pmem0/" + name);
}

TEST_F(WhoWasHitTest, FilesWithoutLinksAreNamedByTheirNumber) {
  const UniqueFd unlinked(open(path_.c_str(), O_RDWR | O_CLOEXEC));
  struct stat st = {};
  ASSERT_EQ(fstat(unlinked.get(), &st), 0);
  Client client;
  client.map_file(path_, 65536);
  std::filesystem::remove(path_);
  const std::string name = "/pmem0/#" + std::to_string(st.st_ino) + " (deleted)";
  EXPECT_EQ(holder({{"holders", as_array(pool_.ctl_json({"mappers"}))}}, client.pid())
                .at("mappings")
                .at(0)
                .at("file"),
            name);
  MonitorProgram monitor(pool_);
  force_off();
  Json event = monitor.next();
  while (!event.contains("file")) event = monitor.next();
  EXPECT_EQ(event.at("file"), name);
}

// One that is free; detached at the end, whatever happens.
class LoopDevice {
 public:
  explicit LoopDevice(const std::string& file) {
    const UniqueFd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    const int number = control ? ioctl(control.get(), LOOP_CTL_GET_FREE) : -1;
    if (number < 0) return;
    name_ = "loop" + std::to_string(number);
    device_.reset(open(("/dev/" + name_).c_str(), O_RDWR | O_CLOEXEC));
    const UniqueFd backing(open(file.c_str(), O_RDWR | O_CLOEXEC));
    is_attached_ = device_ && ioctl(device_.get(), LOOP_SET_FD, backing.get()) == 0;
  }
  ~LoopDevice() { detach(); }
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;

  bool is_attached() const { return is_attached_; }
  const std::string& name() const { return name_; }
  void detach() {
    if (is_attached_) ioctl(device_.get(), LOOP_CLR_FD, 0);
    is_attached_ = false;
    device_.reset();
  }

 private:
  std::string name_;
  UniqueFd device_;
  bool is_attached_ = false;
};

TEST_F(WhoWasHitTest, ALoopDeviceIsNamed) {
  make_file("pmem0/disk", kMiB);
  LoopDevice loop(pool_.path("pmem0/disk"));
  if (!loop.is_attached()) GTEST_SKIP() << "no loop device can be had";
  const Json holders = as_array(pool_.ctl_json({"mappers"}));
  ASSERT_EQ(holders.size(), 1u) << holders.dump(1);
  EXPECT_EQ(holders.at(0).at("kernel"), loop.name());
  EXPECT_EQ(holders.at(0).at("pid"), getpid()) << "who has opened it";
  EXPECT_EQ(holders.at(0).at("open_files").at(0).at("file"), "/pmem0/disk");
  const Output busy = pool_.ctl({"disable-namespace", "namespace0.0"});
  EXPECT_EQ(busy.code, 1);
  EXPECT_THAT(busy.err, HasSubstr("in use by " + loop.name()));
  EXPECT_THAT(busy.err, HasSubstr("losetup --detach"));
  EXPECT_THAT(busy.err, HasSubstr("/pmem0/disk"));
  loop.detach();
}

TEST_F(WhoWasHitTest, WhoMapsThroughAnOverlayIsNamedThoughTheKernelHasTheFile) {
  for (const char* const name : {"/upper", "/work", "/merged"}) {
    std::filesystem::create_directory(pool_.directory() + name);
  }
  const std::string merged = pool_.directory() + "/merged";
  const std::string options = "lowerdir=" + pool_.path("pmem0/dir") +
                              ",upperdir=" + pool_.directory() + "/upper" +
                              ",workdir=" + pool_.directory() + "/work";
  if (::mount("overlay", merged.c_str(), "overlay", 0, options.c_str()) != 0) {
    GTEST_SKIP() << "no overlay on this file system: " << errno_name(errno);
  }
  {
    Client client;
    ASSERT_EQ(client.ask("open " + merged + "/f ro"), "ok 0");
    ASSERT_EQ(client.ask("map 0 0 65536 r shared"), "ok 0");
    ASSERT_THAT(client.ask("load 0 0"), HasSubstr("ok "));
    const Json report = force_off();
    const Json hit = holder(report, client.pid());
    EXPECT_TRUE(hit.contains("kernel") || !hit.at("mappings").empty()) << hit.dump(1);
    EXPECT_EQ(client.ask("load 0 0"), "sigbus 2 0");
  }
  ASSERT_EQ(::umount2(merged.c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace pmemd
