// Forced removal: its options, what a removal without force says, and what old descriptors and
// names get meanwhile.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// --- dry run, busy, twice

TEST_F(RemovalTest, DryRunReportsTheSameAndChangesNothing) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  ASSERT_EQ(client.ask("fill 0 1"), "ok");
  const std::string stored = client.ask("hash 0");

  Json dry = force_off("--dry-run");
  EXPECT_EQ(dry.at("dry_run"), true);
  EXPECT_EQ(dry.at("state"), "enabled");
  EXPECT_EQ(client.ask("hash 0"), stored);
  EXPECT_TRUE(std::filesystem::exists(pool_.path("pmem0/a")));

  Json real = force_off();
  EXPECT_EQ(dry.at("holders"), real.at("holders"));
  EXPECT_EQ(dry.at("lent_ranges"), real.at("lent_ranges"));
  EXPECT_EQ(dry.at("lent_bytes"), real.at("lent_bytes"));
}

TEST_F(RemovalTest, WithoutForceABusyNamespaceIsRefusedWithItsHolders) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  const Output output = pool_.ctl({"disable-namespace", "namespace0.0"});
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.out, "");
  EXPECT_THAT(output.err, AllOf(HasSubstr("namespace0.0"), HasSubstr("in use"),
                                HasSubstr(std::to_string(client.pid())),
                                HasSubstr("pmemd_test_clie"), HasSubstr("/a")));
  EXPECT_EQ(client.ask("store 0 0 1"), "ok");
  EXPECT_EQ(client.ask("pwrite 0 4096 1"), "ok");
  make_file("pmem0/b", kMiB);

  const Output destroy = pool_.ctl({"destroy-namespace", "namespace0.0"});
  EXPECT_EQ(destroy.code, 1);
  EXPECT_THAT(destroy.err, HasSubstr("namespace0.0"));
  EXPECT_EQ(client.ask("load 0 0"), "ok 1");
}

TEST_F(RemovalTest, WithoutForceAnIdleNamespaceIsDisabled) {
  make_file("pmem0/a", kMiB);
  {
    Client client;  // its last descriptor goes with the process
    client.map_file(pool_.path("pmem0/a"), kMiB);
    ASSERT_EQ(client.ask("fill 0 1"), "ok");
  }
  const Json report = pool_.ctl_json({"disable-namespace", "namespace0.0"});
  EXPECT_EQ(report.at("state"), "disabled");
  EXPECT_EQ(report.at("holders"), Json::array());
}

TEST_F(RemovalTest, OfADisabledNamespaceFails) {
  force_off();
  EXPECT_EQ(pool_.ctl({"disable-namespace", "namespace0.0", "--force"}).code, 1);
  turn_on();
  EXPECT_EQ(pool_.ctl({"enable-namespace", "namespace0.0"}).code, 1);
  force_off();
  turn_on();
}

TEST_F(RemovalTest, DestroyedBytesNeverComeBack) {
  make_file("pmem0/secret", 4 * kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/secret"), kMiB);
  pool_.ctl_json({"destroy-namespace", "namespace0.0", "--force"});
  EXPECT_EQ(client.ask("load 0 0"), "sigbus 2 0");
  EXPECT_FALSE(std::filesystem::exists(pool_.path("pmem0")));
  EXPECT_EQ(pool_.ctl_json({"create-namespace", "--mode", "devdax", "--size", "128M"}).at("dev"),
            "namespace0.0");
  EXPECT_EQ(client.ask("load 0 0"), "sigbus 2 0");
  const std::string bytes = read_file(pool_.path("dax0.0"));
  EXPECT_EQ(bytes.size(), 126 * kMiB);
  EXPECT_EQ(bytes.find_first_not_of('\0'), std::string::npos);
}

TEST_F(RemovalTest, ADestroyedRegionTakesItsNamespacesFromTheirUsersAndItsImageFromTheHost) {
  const auto regions = [&] { return as_array(pool_.ctl_json({"list", "-R"})); };
  const std::string image = pool_.pool() + "/region1.img";
  const Json made = pool_.ctl_json({"create-region", "--size", "64M", "--sparse"});
  pool_.ctl_json({"create-namespace", "--region", "1", "--size", "32M"});
  pool_.ctl_json({"create-namespace", "--region", "1", "--mode", "devdax"});
  make_file("pmem1/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem1/a"), kMiB);
  pool_.ctl_json({"inject-error", "namespace1.1", "--block", "7"});
  pool_.ctl_json({"start-scrub", "region1", "--rate", "1K"});

  const Output refused = pool_.ctl({"destroy-region", "region1"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err,
              AllOf(HasSubstr("region1: 2 namespaces are in it, the first is namespace1.0"),
                    HasSubstr("--force")));
  EXPECT_EQ(client.ask("store 0 0 5"), "ok");

  {
    MonitorProgram monitor(pool_);
    const Output destroyed = pool_.ctl({"destroy-region", "1", "--force"});
    EXPECT_EQ(destroyed.code, 0) << destroyed.err;
    EXPECT_EQ(destroyed.out, "region1: destroyed\n");
    for (const char* name : {"namespace1.0", "namespace1.1", "region1"}) {
      EXPECT_EQ(monitor.next_of_kind("destroyed").at("namespace"), name);
    }
  }
  EXPECT_EQ(client.ask("load 0 0"), "sigbus 2 0");
  EXPECT_FALSE(std::filesystem::exists(pool_.path("pmem1")));
  EXPECT_FALSE(std::filesystem::exists(image));
  EXPECT_EQ(regions().size(), 1u);
  EXPECT_EQ(pool_.ctl({"wait-scrub"}).code, 0) << "it has ended, too";
  EXPECT_EQ(pool_.ctl({"destroy-region", "region1"}).code, 1);
  pool_.expect_check_passes();

  EXPECT_EQ(pool_.ctl_json({"create-region", "--size", "64M", "--sparse"}), made)
      << "as the first one: nothing of that is known to be bad";
  pool_.ctl_json({"create-namespace", "--region", "1"});
  EXPECT_TRUE(std::filesystem::is_empty(pool_.path("pmem1")));
  pool_.expect_check_passes();
  pool_.stop();
  pool_.expect_check_passes();
}

// --- surprise, grace, kill

TEST_F(RemovalTest, SurpriseKeepsWhatWasSynced) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  ASSERT_EQ(client.ask("fill 0 1"), "ok");
  ASSERT_EQ(client.ask("msync 0"), "ok");
  const std::string synced = client.ask("hash 0");
  const Json report = force_off("--surprise");
  EXPECT_EQ(report.at("surprise"), true);
  EXPECT_EQ(report.at("state"), "disabled");
  EXPECT_EQ(client.ask("load 0 0"), "sigbus 2 0");
  turn_on();
  EXPECT_EQ(client.ask("hash 0"), synced);
}

TEST_F(RemovalTest, SurpriseLosesWholeStoresOrNone) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  ASSERT_EQ(client.ask("store 0 4096 1"), "ok");
  ASSERT_EQ(client.ask("msync 0"), "ok");
  ASSERT_EQ(client.ask("store 0 4096 2"), "ok");
  force_off("--surprise");
  EXPECT_EQ(client.ask("load 0 4096"), "sigbus 2 4096");
  turn_on();
  EXPECT_EQ(client.ask("load 0 4096"), "ok 1");
  EXPECT_EQ(client.ask("store 0 4096 3"), "ok");
  EXPECT_EQ(client.ask("load 0 4096"), "ok 3");
  pool_.expect_check_passes();
}

TEST_F(RemovalTest, GraceEndsWhenTheLastHolderHasLetGo) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  MonitorProgram monitor(pool_);
  Conversation removal(
      pool_.ctl_args({"disable-namespace", "namespace0.0", "--force", "--grace=10m", "--json"}));
  EXPECT_EQ(monitor.next_of_namespace().at("kind"), "pre-remove");
  ASSERT_EQ(client.ask("unmap 0"), "ok");
  ASSERT_EQ(client.ask("close 0"), "ok");
  EXPECT_EQ(removal.process().wait(), 0);
  EXPECT_EQ(monitor.next_of_namespace().at("kind"), "removed");
}

TEST_F(RemovalTest, GraceThatPassesEndsInTheRemoval) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  ASSERT_EQ(client.ask("store 0 0 1"), "ok");
  force_off("--grace=50ms");
  EXPECT_EQ(client.ask("load 0 0"), "sigbus 2 0");
}

TEST_F(RemovalTest, KillEndsTheMappersAndOnlyThem) {
  make_file("pmem0/a", kMiB);
  Client mapper, opener, other;
  mapper.map_file(pool_.path("pmem0/a"), kMiB);
  ASSERT_EQ(opener.ask("open " + pool_.path("pmem0/a") + " rw"), "ok 0");
  other.map_file(pool_.path("dax0.1"), kMiB);
  const Json report = force_off("--kill");
  EXPECT_EQ(report.at("killed"), Json::array({mapper.pid()}));
  EXPECT_EQ(mapper.process().wait(), 128 + SIGKILL);
  EXPECT_EQ(opener.ask("pread 0 0"), "error EIO");
  EXPECT_EQ(other.ask("store 0 0 1"), "ok");
}

// --- descriptors, names, readers

TEST_F(RemovalTest, OldDescriptorsGetEioAndWorkAgainWhenEnabled) {
  make_file("pmem0/a", kMiB);
  const UniqueFd file(open(pool_.path("pmem0/a").c_str(), O_RDWR | O_CLOEXEC));
  const UniqueFd directory(open(pool_.path("pmem0").c_str(), O_DIRECTORY | O_CLOEXEC));
  char byte = 'x';
  force_off();
  EXPECT_EQ(pread(file.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(pwrite(file.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(ftruncate(file.get(), 0), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(fsync(file.get()), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(fsync(file.get()), -1) << "again and again";
  EXPECT_EQ(openat(directory.get(), "a", O_RDONLY), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(openat(directory.get(), "new", O_RDWR | O_CREAT, 0600), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(open(fmt::format("/proc/self/fd/{}", file.get()).c_str(), O_RDONLY), -1);
  EXPECT_EQ(errno, EIO);
  turn_on();
  EXPECT_EQ(pwrite(file.get(), &byte, 1, 0), 1);
  EXPECT_EQ(fsync(file.get()), 0);
  const UniqueFd again(openat(directory.get(), "a", O_RDONLY));
  EXPECT_TRUE(again);
}

TEST_F(RemovalTest, OldDescriptorsKeepTheirAttributes) {
  make_file("pmem0/a", kMiB);
  const UniqueFd file(open(pool_.path("pmem0/a").c_str(), O_RDWR | O_CLOEXEC));
  const UniqueFd unlinked(open(pool_.path("pmem0/b").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0640));
  const UniqueFd directory(open(pool_.path("pmem0").c_str(), O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(unlink(pool_.path("pmem0/b").c_str()), 0);
  const std::vector<int> fds = {file.get(), unlinked.get(), directory.get()};
  // The kernel's own copy isn't asked.
  const auto attributes = [&] {
    std::string text;
    for (const int fd : fds) {
      struct statx stx = {};
      if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &stx) != 0) {
        text += errno_name(errno) + "\n";
        continue;
      }
      text += fmt::format("{} {:o} {} {} {} {}\n", stx.stx_ino, stx.stx_mode, stx.stx_nlink,
                          stx.stx_size, stx.stx_blocks, stx.stx_mtime.tv_nsec);
    }
    return text;
  };
  char byte = 'x';
  ASSERT_EQ(pwrite(file.get(), &byte, 1, 2 * kMiB), 1);
  const std::string before = attributes();
  EXPECT_THAT(before, HasSubstr(std::to_string(2 * kMiB + 1)));
  force_off();
  EXPECT_EQ(attributes(), before);
  turn_on();
  EXPECT_EQ(attributes(), before);
  ASSERT_EQ(ftruncate(file.get(), 1), 0);
  EXPECT_NE(attributes(), before) << "those of now";
  force_off();
  EXPECT_NE(attributes(), before);
  EXPECT_THAT(attributes(), Not(HasSubstr("E")));
}

TEST_F(RemovalTest, NamesVanishFromTheRootAtOnceAndComeBack) {
  const auto names = [&] {
    std::set<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(pool_.mount())) {
      found.insert(entry.path().filename());
    }
    return found;
  };
  EXPECT_EQ(names(), (std::set<std::string>{"pmem0", "dax0.1"}));
  force_off();
  EXPECT_EQ(names(), std::set<std::string>{"dax0.1"});
  EXPECT_EQ(access(pool_.path("pmem0").c_str(), F_OK), -1);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(listed("namespace0.0").at("state"), "disabled");
  turn_on();
  EXPECT_EQ(names(), (std::set<std::string>{"pmem0", "dax0.1"}));
  EXPECT_FALSE(listed("namespace0.0").contains("state"));
  pool_.ctl_json({"destroy-namespace", "namespace0.1", "--force"});
  EXPECT_EQ(names(), std::set<std::string>{"pmem0"});
  EXPECT_EQ(listed("namespace0.1"), Json());
}

TEST_F(RemovalTest, ReadersInALoopGetEioAndNeverHang) {
  make_file("pmem0/a", 8 * kMiB);
  std::vector<std::unique_ptr<Client>> readers;
  for (int i = 0; i < 4; ++i) {
    readers.push_back(std::make_unique<Client>());
    readers.back()->map_file(pool_.path("pmem0/a"), 8 * kMiB);
    ASSERT_EQ(readers.back()->ask("reader 0"), "ok");
  }
  force_off();
  for (auto& reader : readers) EXPECT_EQ(reader->ask("join_reader"), "ok EIO");
}

TEST_F(RemovalTest, LocksAndMmapOnOldDescriptors) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  force_off();
  EXPECT_EQ(client.ask("flock 0"), "ok");  // the kernel's own
  // FUSE doesn't ask us at mmap: it succeeds, and the touch doesn't.
  EXPECT_EQ(client.ask("map 0 0 4096 rw shared"), "ok 1");
  EXPECT_EQ(client.ask("load 1 0"), "sigbus 2 0");
  EXPECT_EQ(client.ask("msync 0"), "error EIO");
  EXPECT_EQ(client.ask("unmap 0"), "ok");
  EXPECT_EQ(client.ask("close 0"), "ok");
}

// --- events, mappers

TEST_F(RemovalTest, MonitorTellsEventsInOrder) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  MonitorProgram monitor(pool_);
  force_off();
  turn_on();

  const Json whole = monitor.next();
  EXPECT_EQ(whole.at("kind"), "pre-remove");
  EXPECT_EQ(whole.at("namespace"), "namespace0.0");
  EXPECT_EQ(whole.at("offset"), 0);
  EXPECT_EQ(whole.at("length"), 126 * kMiB);
  const Json of_file = monitor.next();
  EXPECT_EQ(of_file.at("kind"), "pre-remove");
  EXPECT_EQ(of_file.at("file"), "/pmem0/a");
  EXPECT_EQ(of_file.at("file_offset"), 0);
  EXPECT_EQ(of_file.at("file_length"), kMiB);
  const Json removed = monitor.next();
  EXPECT_EQ(removed.at("kind"), "removed");
  const Json enabled = monitor.next();
  EXPECT_EQ(enabled.at("kind"), "enabled");
  const uint64_t first = whole.at("seq");
  EXPECT_EQ(of_file.at("seq"), first + 1);
  EXPECT_EQ(removed.at("seq"), first + 2);
  EXPECT_EQ(enabled.at("seq"), first + 3);

  monitor.process().signal(SIGINT);
  EXPECT_EQ(monitor.process().wait(), 0);
}

TEST_F(RemovalTest, MappersListsWhoMapsAndWhoHoldsOpen) {
  make_file("pmem0/a", kMiB);
  Client mapper, opener;
  mapper.map_file(pool_.path("pmem0/a"), kMiB);
  ASSERT_EQ(opener.ask("open " + pool_.path("dax0.1") + " ro"), "ok 0");
  const Json holders = as_array(pool_.ctl_json({"mappers"}));
  ASSERT_EQ(holders.size(), 2) << holders.dump(1);
  const Json report{{"holders", holders}};
  EXPECT_EQ(holder(report, mapper.pid()).at("mappings").size(), 1);
  EXPECT_EQ(holder(report, opener.pid()).at("open_files").at(0).at("namespace"), "namespace0.1");
  EXPECT_EQ(pool_.ctl({"mappers", "namespace0.7"}).code, 1);
}

}  // namespace
}  // namespace pmemd
