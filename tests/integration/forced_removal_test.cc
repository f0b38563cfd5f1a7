// "Must show" 1: a forced removal reaches every mapper of the namespace and nobody else, loses
// nothing, and can be undone.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

TEST_F(RemovalTest, ReachesEveryMapperOfTheNamespaceAndNobodyElse) {
  make_file("pmem0/a", 4 * kMiB);
  make_file("pmem0/b", 2 * kMiB);
  Client storing, forked, other;
  storing.map_file(pool_.path("pmem0/a"), 4 * kMiB);
  forked.map_file(pool_.path("pmem0/b"), 2 * kMiB);
  other.map_file(pool_.path("dax0.1"), 8 * kMiB);
  ASSERT_EQ(forked.ask("fill 0 7"), "ok");  // dirty, never synced
  const std::string stored = forked.ask("hash 0");
  const pid_t child = std::stoi(forked.ask("fork").substr(3));
  ASSERT_EQ(forked.ask("child hash 0"), stored);
  ASSERT_EQ(other.ask("fill 0 9"), "ok");
  ASSERT_EQ(other.ask("checksum_loop 0"), "ok");
  ASSERT_EQ(storing.ask("threads 8 0"), "ok");

  const Json report = pool_.ctl_json({"disable-namespace", "namespace0.0", "--force"});

  EXPECT_EQ(pids_of(report), (std::set<pid_t>{storing.pid(), forked.pid(), child}));
  const Json mapping = holder(report, storing.pid()).at("mappings").at(0);
  EXPECT_EQ(mapping.at("namespace"), "namespace0.0");
  EXPECT_EQ(mapping.at("file"), "/pmem0/a");
  EXPECT_EQ(mapping.at("offset"), 0);
  EXPECT_EQ(mapping.at("length"), 4 * kMiB);
  EXPECT_EQ(mapping.at("private"), false);
  EXPECT_GT(mapping.at("pages_present"), 0);
  EXPECT_EQ(holder(report, child).at("mappings").at(0).at("pages_present"), 512);
  EXPECT_EQ(holder(report, child).at("signal"), "SIGBUS");
  EXPECT_EQ(holder(report, child).at("code"), "BUS_ADRERR");
  EXPECT_EQ(report.at("state"), "disabled");
  EXPECT_EQ(report.at("pages_left"), 0);

  EXPECT_THAT(storing.ask("join"), MatchesRegex("ok [0-9]+ wrong 0 (sigbus 2,){8}"));
  EXPECT_EQ(forked.ask("load 0 0"), "sigbus 2 0");
  EXPECT_EQ(forked.ask("store 0 12296 1"), "sigbus 2 12296");
  EXPECT_EQ(forked.ask("child load 0 4096"), "sigbus 2 4096");
  EXPECT_EQ(forked.ask("child store 0 1048576 1"), "sigbus 2 1048576");
  EXPECT_EQ(other.ask("checksum_round"), "ok");

  pool_.ctl_json({"enable-namespace", "namespace0.0"});
  EXPECT_EQ(storing.ask("verify"), "ok");
  EXPECT_EQ(forked.ask("hash 0"), stored);
  EXPECT_EQ(forked.ask("child hash 0"), stored);
  EXPECT_EQ(forked.ask("child store 0 4096 77"), "ok");
  EXPECT_EQ(forked.ask("load 0 4096"), "ok 77");
  EXPECT_EQ(other.ask("checksum_round"), "ok");
  EXPECT_THAT(other.ask("stop_checksum_loop"), HasSubstr("ok "));
  pool_.expect_check_passes();
}

TEST_F(RemovalTest, OfADevdaxNamespaceReachesItsMappers) {
  Client a, b;
  a.map_file(pool_.path("dax0.1"), 4 * kMiB);
  b.map_file(pool_.path("dax0.1"), 4 * kMiB);
  ASSERT_EQ(a.ask("fill 0 3"), "ok");
  const std::string stored = a.ask("hash 0");
  ASSERT_EQ(b.ask("threads 2 0"), "ok");
  const Json report = pool_.ctl_json({"disable-namespace", "namespace0.1", "--force"});
  EXPECT_EQ(pids_of(report), (std::set<pid_t>{a.pid(), b.pid()}));
  EXPECT_THAT(b.ask("join"), HasSubstr("wrong 0 sigbus 2,sigbus 2,"));
  EXPECT_EQ(a.ask("load 0 8192"), "sigbus 2 8192");
  EXPECT_EQ(a.ask("load 0 4194296"), "sigbus 2 4194296");
  EXPECT_EQ(a.ask("pread 0 0"), "error ENXIO");
  EXPECT_EQ(a.ask("pwrite 0 0 1"), "error ENXIO");

  pool_.ctl_json({"enable-namespace", "namespace0.1"});
  EXPECT_EQ(b.ask("verify"), "ok");
  EXPECT_EQ(a.ask("hash 0"), b.ask("hash 0"));
}

TEST_F(RemovalTest, OfARegionReachesAllItsNamespaces) {
  make_file("pmem0/a", kMiB);
  Client a, b;
  a.map_file(pool_.path("pmem0/a"), kMiB);
  b.map_file(pool_.path("dax0.1"), kMiB);
  ASSERT_EQ(a.ask("fill 0 1"), "ok");
  ASSERT_EQ(b.ask("fill 0 2"), "ok");
  const std::string stored_a = a.ask("hash 0"), stored_b = b.ask("hash 0");

  const Output busy = pool_.ctl({"disable-region", "region0"});
  EXPECT_EQ(busy.code, 1);
  EXPECT_EQ(a.ask("hash 0"), stored_a);  // none was removed
  EXPECT_EQ(b.ask("hash 0"), stored_b);

  const Json reports = pool_.ctl_json({"disable-region", "region0", "--force"});
  ASSERT_EQ(reports.size(), 2);
  EXPECT_EQ(pids_of(reports.at(0)), std::set<pid_t>{a.pid()});
  EXPECT_EQ(pids_of(reports.at(1)), std::set<pid_t>{b.pid()});
  EXPECT_EQ(a.ask("load 0 0"), "sigbus 2 0");
  EXPECT_EQ(b.ask("load 0 0"), "sigbus 2 0");
  EXPECT_TRUE(std::filesystem::is_empty(pool_.mount()));

  pool_.ctl_json({"enable-region", "region0"});
  EXPECT_EQ(a.ask("hash 0"), stored_a);
  EXPECT_EQ(b.ask("hash 0"), stored_b);
}

TEST_F(RemovalTest, AgainAndAgainUnderStoringThreads) {
  make_file("pmem0/a", 2 * kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), 2 * kMiB);
  for (int round = 0; round < 10; ++round) {
    ASSERT_EQ(client.ask("threads 4 0"), "ok");
    const Json report = pool_.ctl_json({"disable-namespace", "namespace0.0", "--force"});
    EXPECT_EQ(report.at("pages_left"), 0);
    EXPECT_THAT(client.ask("join"), MatchesRegex("ok [0-9]+ wrong 0 (sigbus 2,){4}"));
    pool_.ctl_json({"enable-namespace", "namespace0.0"});
    ASSERT_EQ(client.ask("verify"), "ok") << "round " << round;
  }
}

// --- mappings of all kinds

TEST_F(RemovalTest, ReachesMlockedPages) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  ASSERT_EQ(client.ask("mlock 0"), "ok");
  ASSERT_EQ(client.ask("store 0 0 5"), "ok");
  force_off();
  EXPECT_EQ(client.ask("present 0"), "ok 0");
  EXPECT_EQ(client.ask("load 0 0"), "sigbus 2 0");
  turn_on();
  EXPECT_EQ(client.ask("load 0 0"), "ok 5");
}

TEST_F(RemovalTest, ReachesMappingsWhoseDescriptorIsClosed) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  ASSERT_EQ(client.ask("store 0 4096 6"), "ok");
  ASSERT_EQ(client.ask("close 0"), "ok");
  const Json report = force_off();
  EXPECT_EQ(pids_of(report), std::set<pid_t>{client.pid()});
  EXPECT_EQ(client.ask("load 0 4096"), "sigbus 2 4096");
  turn_on();
  EXPECT_EQ(client.ask("load 0 4096"), "ok 6");
}

TEST_F(RemovalTest, LeavesPrivateCopiesAndTakesWhatWasNotCopied) {
  make_file("pmem0/a", kMiB);
  Client client;
  ASSERT_EQ(client.ask("open " + pool_.path("pmem0/a") + " rw"), "ok 0");
  ASSERT_EQ(client.ask("map 0 0 1048576 rw private"), "ok 0");
  ASSERT_EQ(client.ask("store 0 4096 8"), "ok");
  const std::string original = client.ask("load 0 8192");
  const Json report = force_off();
  EXPECT_EQ(holder(report, client.pid()).at("mappings").at(0).at("private"), true);
  EXPECT_EQ(client.ask("load 0 4096"), "ok 8");
  EXPECT_EQ(client.ask("load 0 8192"), "sigbus 2 8192");
  turn_on();
  EXPECT_EQ(client.ask("load 0 4096"), "ok 8");
  EXPECT_EQ(client.ask("load 0 8192"), original);
}

TEST_F(RemovalTest, UnlinkedFilesThatAreMappedComeBack) {
  make_file("pmem0/a", kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), kMiB);
  ASSERT_EQ(client.ask("fill 0 4"), "ok");
  const std::string stored = client.ask("hash 0");
  std::filesystem::remove(pool_.path("pmem0/a"));
  force_off();
  EXPECT_EQ(client.ask("load 0 0"), "sigbus 2 0");
  turn_on();
  EXPECT_EQ(client.ask("hash 0"), stored);
  EXPECT_FALSE(std::filesystem::exists(pool_.path("pmem0/a")));
  pool_.expect_check_passes();
}

TEST_F(RemovalTest, NeverTouchedPagesAreGoneToo) {
  make_file("pmem0/a", 64 * kMiB);
  Client client;
  client.map_file(pool_.path("pmem0/a"), 64 * kMiB);
  const Json report = force_off();
  EXPECT_EQ(holder(report, client.pid()).at("mappings").at(0).at("pages_present"), 0);
  EXPECT_EQ(client.ask("load 0 33554432"), "sigbus 2 33554432");
  turn_on();
  EXPECT_THAT(client.ask("load 0 33554432"), HasSubstr("ok "));
}

TEST_F(RemovalTest, WritesOfManyFilesAreKept) {
  std::vector<std::string> contents;
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 16; ++i) {
    make_file(fmt::format("pmem0/{}", i), 256 * kKiB);
    clients.push_back(std::make_unique<Client>());
    clients.back()->map_file(pool_.path(fmt::format("pmem0/{}", i)), 256 * kKiB);
    ASSERT_EQ(clients.back()->ask(fmt::format("fill 0 {}", i)), "ok");
    contents.push_back(clients.back()->ask("hash 0"));
  }
  const Json report = force_off();
  EXPECT_EQ(report.at("holders").size(), 16);
  EXPECT_GE(report.at("files_revoked"), 16);
  turn_on();
  for (size_t i = 0; i < clients.size(); ++i) EXPECT_EQ(clients[i]->ask("hash 0"), contents[i]);
}

}  // namespace
}  // namespace pmemd
