// "Must show" 2 on a real mount: a leg that goes by force takes exactly its own pages away from the
// mappers of a volume, and brings them back. And the life of volumes, by pmemctl.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "core/base/units.h"
#include "core/range/range_set.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class VolumesTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    pool_.start();
    pool_.ctl_json({"destroy-namespace", "namespace0.0", "--force"});
    for (int i = 0; i < 4; ++i) pool_.ctl_json({"create-namespace", "--size", "16M"});
  }
  static std::string leg(int i) { return fmt::format("namespace0.{}", i); }
  void create(std::vector<std::string> args) {
    args.insert(args.begin(), "create-volume");
    pool_.ctl_json(args);
  }
  // volume2 over volume0 over n0, n1 and volume1 over n2, n3; or volume1 over volume0 over all.
  std::string make_stack(bool two) {
    if (two) {
      create({"--type", "striped", "--chunk", "64K", leg(0), leg(1)});
      create({"--type", "striped", "--chunk", "128K", leg(2), leg(3)});
      create({"volume0", "volume1"});
      return "vol2";
    }
    create({"--type", "striped", "--chunk", "64K", leg(0), leg(1), leg(2), leg(3)});
    create({"volume0"});
    return "vol1";
  }
  Json volume(const std::string& name) {
    for (const Json& object : as_array(pool_.ctl_json({"list", "-V", "--idle"}))) {
      if (object.at("dev") == name) return object;
    }
    return {};
  }
  // Fails with this errno, and says `words`.
  void expect_refused(const std::vector<std::string>& args, const std::string& words) {
    const Output output = pool_.ctl(args);
    EXPECT_EQ(output.code, 1) << args.front();
    EXPECT_THAT(output.err, HasSubstr(words));
  }

  TestPool pool_;
};

// The pages of a file that were told to go, until the leg is told to be gone.
RangeSet<FileSpace> told_of(MonitorProgram& monitor, const std::string& leg) {
  RangeSet<FileSpace> told;
  while (true) {
    const Json event = monitor.next();
    if (event.at("namespace") != leg) continue;
    if (event.at("kind") == "removed") return told;
    if (event.at("kind") != "pre-remove" || !event.contains("file")) continue;
    const auto range = FileRange::sized(event.at("file_offset"), event.at("file_length"));
    EXPECT_FALSE(told.overlaps(range)) << "told twice";
    told.insert(range);
  }
}

std::string expected_pages(const RangeSet<FileSpace>& dead, uint64_t bytes) {
  std::string letters;
  for (uint64_t at = 0; at < bytes; at += kPageSize) {
    letters += dead.overlaps(FileRange::sized(at, kPageSize)) ? 'd' : 'a';
  }
  return letters;
}

TEST_F(VolumesTest, AForcedLegTakesExactlyItsOwnPagesAndBringsThemBack) {
  constexpr uint64_t kBytes = 24 * kMiB;
  for (const bool two : {true, false}) {
    SCOPED_TRACE(two ? "linear over two striped" : "linear over one striped");
    const std::string shown = make_stack(two);
    write_file(pool_.path(shown + "/a"), std::string(kBytes, 'x'));
    Client client;
    client.map_file(pool_.path(shown + "/a"), kBytes);
    const std::string all_alive(kBytes / kPageSize, 'a');
    MonitorProgram monitor(pool_);
    RangeSet<FileSpace> all_told;
    for (int i = 0; i < 4; ++i) {
      SCOPED_TRACE(leg(i));
      const std::string seed = std::to_string(1000 + i);
      ASSERT_EQ(client.ask("fill 0 " + seed), "ok");  // dirty, never synced
      const Json report = pool_.ctl_json({"disable-namespace", leg(i), "--force"});
      EXPECT_EQ(report.at("state"), "disabled");
      EXPECT_EQ(report.at("pages_left"), 0);
      EXPECT_EQ(report.at("lost_writebacks"), 0);
      const auto told = told_of(monitor, leg(i));
      EXPECT_GT(told.bytes(), 0u);
      EXPECT_EQ(report.at("lent_bytes"), told.bytes());
      EXPECT_EQ(client.ask("pages 0 " + seed), "ok " + expected_pages(told, kBytes));

      const uint64_t dead = *told.first();
      EXPECT_EQ(client.ask("pread 0 " + std::to_string(dead)), "error EIO");
      EXPECT_EQ(client.ask(fmt::format("pwrite 0 {} 1", dead)), "error EIO");
      EXPECT_EQ(client.ask(fmt::format("store 0 {} 1", dead)), fmt::format("sigbus 2 {}", dead));
      told.for_each([&](FileRange range) { all_told.insert(range); });

      pool_.ctl_json({"enable-namespace", leg(i)});
      EXPECT_EQ(client.ask("pages 0 " + seed), "ok " + all_alive) << "with what was stored";
    }
    EXPECT_EQ(all_told.ranges(), (std::vector<FileRange>{{0, kBytes}})) << "no byte is on no leg";
    pool_.expect_check_passes();
    client.ask("unmap 0");
    client.ask("close 0");
    pool_.ctl_json({"destroy-volume", two ? "volume2" : "volume1", "--force"});
    for (const std::string name : {"volume1", "volume0"}) {
      if (!volume(name).is_null()) pool_.ctl_json({"destroy-volume", name, "--force"});
    }
    EXPECT_TRUE(as_array(pool_.ctl_json({"list", "-V", "--idle"})).empty());
  }
}

TEST_F(VolumesTest, LiveWithTheirLegsThroughRestartsAndEndWithEmptyOnes) {
  create({"--type", "striped", "--chunk", "64K", leg(1), leg(0)});
  create({"volume0", leg(2)});
  EXPECT_EQ(volume("volume0").at("legs"), Json::array({leg(1), leg(0)}));
  EXPECT_EQ(volume("volume0").at("volume"), "volume1");
  EXPECT_EQ(volume("volume0").at("chunk"), 64 * kKiB);
  std::set<std::string> shown;
  for (const auto& entry : std::filesystem::directory_iterator(pool_.mount())) {
    shown.insert(entry.path().filename());
  }
  EXPECT_EQ(shown, (std::set<std::string>{"vol1", "pmem0.3"}));
  const std::string text = pattern(1, 8 * kMiB);
  write_file(pool_.path("vol1/a"), text);

  pool_.stop();
  pool_.start({.create = ""});
  EXPECT_EQ(read_file(pool_.path("vol1/a")), text);
  fsync_path(pool_.path("vol1/a"));
  pool_.kill9();
  pool_.start({.create = ""});
  EXPECT_EQ(read_file(pool_.path("vol1/a")), text);
  pool_.expect_check_passes();

  expect_refused({"destroy-namespace", leg(0), "--force"}, "leg of volume0");
  expect_refused({"destroy-volume", "volume0", "--force"}, "leg of volume1");
  expect_refused({"destroy-volume", "volume1"}, "enabled");
  expect_refused({"destroy-namespace", "volume1", "--force"}, "destroy-volume");
  expect_refused({"destroy-volume", leg(0)}, "no volume");
  expect_refused({"disable-namespace", leg(0)}, "in use by volume0");
  pool_.ctl_json({"destroy-volume", "volume1", "--force"});
  pool_.ctl_json({"destroy-volume", "volume0", "--force"});
  for (int i = 0; i < 3; ++i) {
    const std::string path = pool_.path(i == 0 ? "pmem0" : fmt::format("pmem0.{}", i));
    EXPECT_TRUE(std::filesystem::is_empty(path)) << path;
  }
  pool_.expect_check_passes();
}

TEST_F(VolumesTest, WantLegsThatAreEmptyAndIdle) {
  write_file(pool_.path("pmem0/a"), "text");
  expect_refused({"create-volume", leg(0)}, "it has files");
  EXPECT_EQ(read_file(pool_.path("pmem0/a")), "text");
  Client client;
  EXPECT_THAT(client.ask("open " + pool_.path("pmem0.1") + " ro"), HasSubstr("ok"));
  expect_refused({"create-volume", leg(1), leg(2)}, "in use by 1 process");
  client.ask("close 0");
  EXPECT_TRUE(std::filesystem::exists(pool_.path("pmem0.2"))) << "as before";
  create({leg(1), leg(2)});
  expect_refused({"create-volume", leg(2), leg(3)}, "leg of volume0");
  EXPECT_EQ(pool_.ctl({"create-volume", "--type", "mirror", leg(3)}).code, 2);
}

TEST_F(VolumesTest, IsDisabledEnabledAndLookedAtAsANamespace) {
  create({leg(0), leg(1)});
  write_file(pool_.path("vol0/a"), pattern(2, kMiB));
  Client client;
  client.map_file(pool_.path("vol0/a"), kMiB);
  const std::string hash = client.ask("hash 0");
  EXPECT_EQ(as_array(pool_.ctl_json({"mappers", "volume0"})).size(), 1u);
  const Json refs = pool_.ctl_json({"refs", leg(0)});
  EXPECT_EQ(refs.at("held"), 1);
  EXPECT_EQ(refs.at("references").at(0).at("kind"), "volume");
  EXPECT_EQ(refs.at("references").at(0).at("what"), "volume0");

  pool_.ctl_json({"disable-namespace", "volume0", "--force"});
  EXPECT_EQ(volume("volume0").at("state"), "disabled");
  EXPECT_EQ(client.ask("load 0 0"), "sigbus 2 0");
  pool_.ctl_json({"disable-namespace", leg(1)});
  expect_refused({"enable-namespace", "volume0"}, "its leg namespace0.1 is not enabled");
  pool_.ctl_json({"enable-namespace", leg(1)});
  pool_.ctl_json({"enable-namespace", "volume0"});
  EXPECT_EQ(client.ask("hash 0"), hash);
}

// 64 KiB over two chunks, so on two legs: exactly these pages, by the way through both layers.
TEST_F(VolumesTest, PoisonOfAFilesRangeComesBackAsThisRange) {
  constexpr uint64_t kBytes = 2 * kMiB;
  const std::string shown = make_stack(true);
  write_file(pool_.path(shown + "/a"), std::string(kBytes, 'x'));
  Client client;
  client.map_file(pool_.path(shown + "/a"), kBytes);
  ASSERT_EQ(client.ask("fill 0 5"), "ok");
  ASSERT_EQ(client.ask("msync 0"), "ok");
  const FileRange range = FileRange::sized(100 * kKiB, 64 * kKiB);
  const Json reports = as_array(pool_.ctl_json(
      {"inject-error", "--file", pool_.path(shown + "/a"), "--offset", "100K", "--length", "64K"}));
  RangeSet<FileSpace> told;
  for (const Json& report : reports) {
    for (const Json& file : report.at("files")) {
      EXPECT_EQ(file.at("namespace"), "volume2");
      EXPECT_EQ(file.at("file"), "/vol2/a");
      const auto part = FileRange::sized(file.at("offset"), file.at("length"));
      EXPECT_FALSE(told.overlaps(part)) << "told twice";
      told.insert(part);
    }
  }
  EXPECT_EQ(told.ranges(), std::vector<FileRange>{range});
  EXPECT_EQ(client.ask("pages 0 5"), "ok " + expected_pages(told, kBytes));
  pool_.ctl_json({"clear-errors", "volume2"});
  std::string expected = expected_pages(told, kBytes);
  std::ranges::replace(expected, 'd', 'w');  // good again: zeros
  EXPECT_EQ(client.ask("pages 0 5"), "ok " + expected);
}

TEST_F(VolumesTest, ListSaysWhoseLegsTheyAreAndWhatIsDegradedBelow) {
  make_stack(/*two=*/true);
  const Json leg_of = as_array(pool_.ctl_json({"list", "-N"})).at(0);
  EXPECT_EQ(leg_of.at("volume"), "volume0");
  EXPECT_FALSE(leg_of.contains("blockdev")) << "the mount doesn't show it";
  EXPECT_FALSE(volume("volume1").contains("blockdev"));
  EXPECT_EQ(volume("volume2").at("blockdev"), "vol2");
  EXPECT_THAT(pool_.ctl({"list", "-N"}).out, HasSubstr("enabled, a leg of volume0"));
  pool_.ctl_json({"disable-namespace", leg(1), "--force"});
  EXPECT_EQ(volume("volume0").at("missing"), Json::array({leg(1)}));
  EXPECT_EQ(volume("volume2").at("missing"), Json::array({leg(1)}));
  EXPECT_FALSE(volume("volume1").contains("missing"));
  EXPECT_THAT(pool_.ctl({"list", "-V"}).out, HasSubstr("degraded, a leg of volume2"));
  expect_refused({"disable-namespace", "volume7"}, "volume7: no such volume");
}

TEST_F(VolumesTest, ARegionsRemovalTakesItsLegsOnly) {
  pool_.ctl_json({"create-region", "--size", "16M", "--sparse"});
  pool_.ctl_json({"create-namespace", "--region", "region1"});
  create({leg(0), "namespace1.0"});
  write_file(pool_.path("vol0/a"), std::string(20 * kMiB, 'x'));
  Client client;
  client.map_file(pool_.path("vol0/a"), 20 * kMiB);
  ASSERT_EQ(client.ask("fill 0 3"), "ok");
  expect_refused({"disable-region", "region1"}, "namespace1.0: in use by volume0");
  MonitorProgram monitor(pool_);
  pool_.ctl_json({"disable-region", "region1", "--force"});
  const auto told = told_of(monitor, "namespace1.0");
  EXPECT_EQ(client.ask("pages 0 3"), "ok " + expected_pages(told, 20 * kMiB));
  EXPECT_EQ(volume("volume0").at("missing"), Json::array({"namespace1.0"}));
  pool_.ctl_json({"enable-region", "region1"});
  EXPECT_EQ(client.ask("pages 0 3"), "ok " + std::string(20 * kMiB / kPageSize, 'a'));
  pool_.stop();  // with the mapping still there: nothing is lost
  pool_.start({.create = ""});
  EXPECT_EQ(client.ask("close 0"), "ok");
  Client again;
  again.map_file(pool_.path("vol0/a"), 20 * kMiB);
  EXPECT_EQ(again.ask("pages 0 3"), "ok " + std::string(20 * kMiB / kPageSize, 'a'));
}

}  // namespace
}  // namespace pmemd
