// "Must show" 3: the forced removal of an untouched region is one ranged call, however large the
// region is. Time is for bench/; here it is counted what was done.
#include <fmt/format.h>

#include "core/base/units.h"
#include "tests/integration/support/client.h"
#include "tests/integration/support/removal_fixture.h"

namespace pmemd {
namespace {

struct Counts {
  Json lent_ranges, lent_bytes, files_flushed, files_revoked, pages_left, pages_present, state;
  bool operator==(const Counts&) const = default;
};

class RemovalTimeTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped()) pool_.start({.create = "16M"});
  }

  // Removes a sparse region of a whole devdax namespace that somebody maps from end to end.
  Counts remove(uint64_t region_bytes) {
    const std::string region =
        pool_.ctl_json({"create-region", "--size", fmt::format("{}", region_bytes), "--sparse"})
            .at("dev");
    const Json space = pool_.ctl_json({"create-namespace", "--mode", "devdax", "--region", region});
    Client client;
    const uint64_t bytes = space.at("size").get<uint64_t>();
    EXPECT_EQ(bytes, region_bytes - 2 * kMiB);
    client.map_file(pool_.path(space.at("chardev")), bytes);
    const Json report = as_array(pool_.ctl_json({"disable-region", region, "--force"})).at(0);
    const uint64_t last = bytes - 8;
    EXPECT_EQ(client.ask(fmt::format("load 0 {}", last)), fmt::format("sigbus 2 {}", last));
    pool_.ctl_json({"enable-region", region});
    EXPECT_EQ(client.ask(fmt::format("load 0 {}", last)), "ok 0");
    EXPECT_EQ(client.ask(fmt::format("store 0 {} 1", last)), "ok");
    return {report.at("lent_ranges"),
            report.at("lent_bytes"),
            report.at("files_flushed"),
            report.at("files_revoked"),
            report.at("pages_left"),
            report.at("holders").at(0).at("mappings").at(0).at("pages_present"),
            report.at("state")};
  }

  TestPool pool_;
};

TEST_F(RemovalTimeTest, WorkDoesNotGrowWithTheSizeOfAnUntouchedRegion) {
  const Counts small = remove(kGiB);
  const Counts large = remove(kTiB);
  EXPECT_EQ(small, large);
  EXPECT_EQ(large.state, "disabled");
  EXPECT_EQ(large.lent_ranges, 0);
  EXPECT_LE(large.files_revoked, 1);
  pool_.expect_check_passes();
}

// One file in a 1 TiB namespace, one page touched at each end of it.
TEST_F(RemovalTimeTest, LentRangesCountNotPagesOfASparseFile) {
  pool_.ctl_json({"create-region", "--size", "1T", "--sparse"});
  const Json space = pool_.ctl_json({"create-namespace", "--region", "region1"});
  const std::string file = pool_.path(space.at("blockdev").get<std::string>() + "/sparse");
  write_file(file, "");
  Client client;
  constexpr uint64_t kBytes = 900 * kGiB;
  ASSERT_EQ(client.ask("open " + file + " rw"), "ok 0");
  ASSERT_EQ(client.ask(fmt::format("size 0 {}", kBytes)), "ok");
  ASSERT_EQ(client.ask(fmt::format("map 0 0 {} rw shared", kBytes)), "ok 0");
  ASSERT_EQ(client.ask("store 0 0 1"), "ok");
  ASSERT_EQ(client.ask(fmt::format("store 0 {} 2", kBytes - 4096)), "ok");
  const Json report =
      pool_.ctl_json({"disable-namespace", space.at("dev").get<std::string>(), "--force"});
  EXPECT_LE(report.at("lent_ranges"), 2 + 1);  // the root directory is none
  EXPECT_LE(report.at("files_revoked"), 2);
  EXPECT_EQ(client.ask("load 0 0"), "sigbus 2 0");
  pool_.ctl_json({"enable-namespace", space.at("dev").get<std::string>()});
  EXPECT_EQ(client.ask("load 0 0"), "ok 1");
  EXPECT_EQ(client.ask(fmt::format("load 0 {}", kBytes - 4096)), "ok 2");
}

}  // namespace
}  // namespace pmemd
