// The emulated physical map from the command line: System RAM, regions where one wants them, and
// what pmemctl explain tells of their pages.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "core/base/units.h"
#include "tests/integration/support/harness.h"

namespace pmemd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uint64_t kSection = 128 * kMiB;
constexpr uint64_t kRamEnd = 3 * kGiB + 2 * kMiB;  // in the middle of a section

class ExplainTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped()) pool_.start({.args = {"--system-ram", std::to_string(kRamEnd)}});
  }
  Json explain(uint64_t address) {
    return pool_.ctl_json({"explain", "--address", fmt::format("{:#x}", address)});
  }
  static std::string last_answer(const Json& told, const std::string& function) {
    std::string answer;
    for (const Json& step : told.at("steps")) {
      if (step.at("function") != function) continue;
      answer = step.at("asked").get<std::string>() + (step.at("yes") ? " yes" : " no");
    }
    return answer;
  }

  TestPool pool_;
};

TEST_F(ExplainTest, NamespaceThatSharesASectionWithRamIsToldApart) {
  const uint64_t base = kRamEnd + 4 * kMiB;
  const Json region =
      pool_.ctl_json({"create-region", "--size=8M", "--sparse", fmt::format("--base={:#x}", base)});
  EXPECT_EQ(region.at("base"), base);
  pool_.ctl_json({"create-namespace", "--region=region1"});

  const Json ram = explain(kRamEnd - 1);
  EXPECT_EQ(ram.at("pfn"), (kRamEnd - 1) / kPageSize);
  EXPECT_EQ(ram.at("online"), true);
  EXPECT_FALSE(ram.contains("region"));
  EXPECT_EQ(last_answer(ram, "pfn_to_online_page"), "does get_dev_pagemap() find one? no");

  const Json hole = explain(kRamEnd);
  EXPECT_EQ(hole.at("pfn_valid"), true);
  EXPECT_EQ(hole.at("online"), false);
  EXPECT_EQ(last_answer(hole, "pfn_to_online_page"), "is the subsection valid? no");

  const Json metadata = explain(base + kMiB);
  EXPECT_EQ(metadata.at("area"), "metadata");
  EXPECT_EQ(metadata.at("pgmap_pfn_valid"), false);
  EXPECT_FALSE(metadata.contains("offset"));

  const Json data = explain(base + 2 * kMiB + kPageSize);
  EXPECT_EQ(data.at("online"), false);
  EXPECT_EQ(data.at("section"), base / kSection);
  EXPECT_EQ(data.at("section"), ram.at("section"));
  EXPECT_EQ(data.at("region"), "region1");
  EXPECT_EQ(data.at("namespace"), "namespace1.0");
  EXPECT_EQ(data.at("state"), "enabled");
  EXPECT_EQ(data.at("offset"), kPageSize);
  EXPECT_EQ(data.at("pgmap_pfn_valid"), true);
  EXPECT_EQ(
      data.at("pagemap"),
      (Json{{"name", "namespace1.0"}, {"type", "fsdax"}, {"state", "live"}, {"references", 0}}));
  const Output shown = pool_.ctl({"explain", std::to_string(data.at("pfn").get<uint64_t>())});
  EXPECT_EQ(shown.code, 0);
  EXPECT_THAT(shown.out, AllOf(HasSubstr(": a device page of namespace1.0 (fsdax): not online\n"),
                               HasSubstr("region1, namespace1.0 (enabled): data, offset 0x1000"),
                               HasSubstr("\npfn_to_online_page\n")));
}

TEST_F(ExplainTest, DisabledNamespaceHasNoPages) {
  const uint64_t data = 4 * kGiB + 2 * kMiB;
  EXPECT_EQ(explain(data).at("pfn_valid"), true);
  EXPECT_EQ(pool_.ctl({"disable-namespace", "0.0"}).code, 0);
  const Json told = explain(data);
  EXPECT_EQ(told.at("pfn_valid"), false);
  EXPECT_EQ(told.at("namespace"), "namespace0.0");
  EXPECT_EQ(told.at("state"), "disabled");
  EXPECT_EQ(told.at("offset"), 0);
  EXPECT_FALSE(told.contains("pagemap"));
}

// As with hardware: where a region is, is one thing; that its memory can be had, another.
TEST_F(ExplainTest, NamespaceOnSystemRamCannotBeEnabled) {
  pool_.ctl_json({"create-region", "--size=8M", "--sparse", "--base=1G"});
  const Output refused = pool_.ctl({"create-namespace", "--region=region1"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("namespace1.0: range 0x40000000-0x40800000"),
                                 HasSubstr("System RAM"), HasSubstr("--system-ram")));
  EXPECT_EQ(explain(kGiB).at("online"), true);
  pool_.stop();
  pool_.start({.create = "", .args = {"--system-ram=0"}});
  EXPECT_EQ(explain(kGiB).at("online"), false);
  EXPECT_EQ(pool_.ctl({"create-namespace", "--region=region1"}).code, 0);
  EXPECT_EQ(explain(kGiB).at("area"), "metadata");
  EXPECT_EQ(explain(0).at("pfn_valid"), false);
  pool_.expect_check_passes();
}

TEST_F(ExplainTest, ErrorsNameTheObjectTheCauseAndAWayOn) {
  const auto error = [&](std::vector<std::string> args) {
    const Output output = pool_.ctl(std::move(args));
    EXPECT_EQ(output.code, 1) << output.err;
    return output.err;
  };
  EXPECT_THAT(error({"explain", "0x10000000000"}),
              AllOf(HasSubstr("pfn 0x10000000000: beyond the emulated address space"),
                    HasSubstr("the last pfn is 0xffffffffff"), HasSubstr("use --address")));
  EXPECT_THAT(error({"explain", "--address", "0x10000000000000"}),
              AllOf(HasSubstr("address 0x10000000000000: beyond"),
                    HasSubstr("the last address 0xfffffffffffff")));
  EXPECT_THAT(error({"create-region", "--size=8M", "--base=4G"}),
              AllOf(HasSubstr("0x100000000-0x100800000 overlaps region0"), HasSubstr("list -R")));
  EXPECT_THAT(error({"create-region", "--size=8M", "--base=4097K"}),
              HasSubstr("no multiple of 2 MiB"));
  EXPECT_EQ(pool_.ctl({"explain", "page"}).code, 2);
}

TEST_F(ExplainTest, SystemRamThatCannotBeIsAUsageError) {
  pool_.stop();
  for (const char* wrong : {"1M", "3", "x", "-2M", "8192T"}) {
    const Output output =
        pool_.start_and_fail({.create = "", .args = {std::string("--system-ram=") + wrong}});
    EXPECT_EQ(output.code, 2) << wrong;
    EXPECT_THAT(output.err, HasSubstr("--system-ram")) << wrong;
  }
}

}  // namespace
}  // namespace pmemd
