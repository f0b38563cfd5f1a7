// list -MBX, badblocks, configure, start-scrub, wait-scrub, monitor's options.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/cli/fake_daemon.h"

namespace pmemd::cli::test {
namespace {

using ::testing::HasSubstr;

const Json kRegion = Json::parse(R"({"dev":"region0","size":1073741824,"align":2097152,
    "available_size":0,"max_available_extent":0,"type":"pmem","base":4294967296,"sparse":true,
    "badblock_count":3,"badblocks":[{"offset":4108,"length":2,"dimms":["nmem0"]},
                                    {"offset":9000,"length":1,"dimms":["nmem0"]}]})");
const Json kNamespace = Json::parse(R"({"dev":"namespace0.0","mode":"fsdax","map":"dev",
    "size":1071644672,"uuid":"u","sector_size":512,"align":2097152,"blockdev":"pmem0",
    "region":"region0","badblock_count":2,
    "badblocks":[{"offset":12,"length":2,"dimms":["nmem0"]}]})");
const Json kListed = {{"regions", {kRegion}}, {"namespaces", {kNamespace}}};

TEST_F(CliTest, FailureVerbsSendWhatTheOptionsSay) {
  EXPECT_EQ(sent_by({"list", "-RNBXM"}),
            R"(List{"regions":true,"namespaces":true,"device_dax":true,"media_errors":true})");
  EXPECT_EQ(sent_by({"list", "-M"}), R"(List{"media_errors":true,"namespaces":true})");
  EXPECT_EQ(sent_by({"badblocks", "0"}), R"(BadBlocks{"object":"region0"})");
  EXPECT_EQ(sent_by({"badblocks", "0.1"}), R"(BadBlocks{"object":"namespace0.1"})");
  EXPECT_EQ(sent_by({"configure", "0.0"}), R"(Settings{"namespace":"namespace0.0"})");
  EXPECT_EQ(sent_by({"configure", "0.0", "kill=early", "rmap=no"}),
            R"(Configure{"namespace":"namespace0.0","settings":"kill=early rmap=no"})");
  EXPECT_EQ(sent_by({"configure", "0.0", "--profile", "6.1"}),
            R"(Configure{"namespace":"namespace0.0","profile":"6.1"})");
  EXPECT_EQ(sent_by({"start-scrub"}), "StartScrub{}");
  EXPECT_EQ(sent_by({"start-scrub", "0.0", "--block", "2", "--count", "3", "--rate", "1M"}),
            R"(StartScrub{"object":"namespace0.0","offset":1024,"length":1536,"rate":1048576})");
  EXPECT_EQ(sent_by({"start-scrub", "region1", "--offset", "0", "--length", "4K"}),
            R"(StartScrub{"object":"region1","offset":0,"length":4096})");
  EXPECT_EQ(sent_by({"wait-scrub", "0"}), R"(WaitScrub{"object":"region0"})");
  EXPECT_EQ(sent_by({"monitor", "--since", "7", "-n", "namespace0.0", "-n", "0.1", "--kind",
                     "poison", "--file", "/pmem0/a*", "--no-follow"}),
            R"(Monitor{"since":7,"namespaces":"namespace0.0,namespace0.1","kinds":"poison",)"
            R"("file":"/pmem0/a*","follow":false})");
}

TEST_F(CliTest, FailureVerbsRefuseWhatMeansNothing) {
  for (const std::vector<std::string>& args :
       {std::vector<std::string>{"configure", "0.0", "kill"},
        {"configure"},
        {"badblocks"},
        {"start-scrub", "0", "--count", "1"},
        {"start-scrub", "0", "--block", "1", "--offset", "0"},
        {"start-scrub", "0", "--block", "x"},
        {"monitor", "--since", "yesterday"},
        {"start-scrub", "--length", "4K"},
        {"refs"},
        {"explain"},
        {"explain", "1", "--address", "4G"},
        {"clear-errors"},
        {"clear-errors", "0.0", "--file", "a"},
        {"inject-error", "0.0"},
        {"inject-error", "--block", "1"},
        {"inject-error", "0.0", "--block", "1", "--count", "0"},
        {"inject-error", "0.0", "--block", "1", "--on", "foo"},
        {"inject-error", "0.0", "--block", "1", "--nth", "0"},
        {"inject-error", "0.0", "--random", "0"},
        {"inject-error", "0.0", "--block", "1", "--seed", "1"},
        {"inject-error", "0.0", "--block", "1", "--nth", "1", "--dry-run"},
        {"inject-error", "0.0", "--block", "1", "--after", "1s", "--on", "any"},
        {"inject-error", "0.0", "--block", "1", "--uninject", "--nth", "1"}}) {
    EXPECT_EQ(run(args).code, 2) << args[0];
  }
  EXPECT_TRUE(daemon_.calls().empty());
}

TEST_F(CliTest, FilesToFollowNeedNotBeThereButInTheMount) {
  const TemporaryDirectory mount;
  ASSERT_EQ(::mkdir((mount.path() + "/d[1").c_str(), 0700), 0);
  daemon_.answer("Status", {{"mount", mount.path()}});
  const auto sent = [&](const std::string& file) {
    const std::string error = run({"monitor", "--no-follow", "--file", file}).err;
    const Call last = daemon_.calls().back();
    return last.method == "org.pmemd.Monitor" ? last.parameters.value("file", "") : error;
  };
  ASSERT_EQ(::symlink("d[1", (mount.path() + "/link").c_str()), 0);
  EXPECT_EQ(sent(mount.path() + "/link/n*/x"), "/d\\[1/n*/x") << "no wildcard of the caller's";
  EXPECT_EQ(sent(mount.path() + "/*"), "/*");
  for (const char* const as_it_is : {"/pmem0/a", "/pmem?/a", "namespace0.0:/a*", "/etc/a"}) {
    EXPECT_EQ(sent(as_it_is), as_it_is) << "the daemon judges it";
  }
}

TEST_F(CliTest, ListNestsInTheBusAndShowsBadBlocksAsNdctlDoes) {
  daemon_.answer("List", kListed);
  const Json bus = Json::parse(run({"--json", "list", "-RNBM"}).out);
  EXPECT_EQ(bus["provider"], "pmemd");
  EXPECT_EQ(bus["dev"], "ndbus0");
  EXPECT_EQ(bus["regions"][0]["badblock_count"], 3);
  EXPECT_EQ(bus["regions"][0]["namespaces"][0]["badblocks"], kNamespace["badblocks"]);
  EXPECT_EQ(Json::parse(run({"--json", "list", "-B"}).out),
            (Json{{"provider", "pmemd"}, {"dev", "ndbus0"}}));
  EXPECT_THAT(run({"list", "-RNM"}).out, HasSubstr("\nOBJECT        OFFSET  BLOCKS  DIMMS\n"
                                                   "region0         4108       2  nmem0\n"
                                                   "region0         9000       1  nmem0\n"
                                                   "namespace0.0      12       2  nmem0\n"));
}

TEST_F(CliTest, BadblocksPrintsWhatSysfsPrints) {
  daemon_.answer("BadBlocks",
                 {{"object", "region0"},
                  {"badblock_count", 3},
                  {"badblocks", {{{"sector", 12}, {"count", 2}}, {{"sector", 99}, {"count", 1}}}},
                  {"omitted", 4}});
  const Output output = run({"badblocks", "0"});
  EXPECT_EQ(output.code, 0);
  EXPECT_EQ(output.out, "12 2\n99 1\n");
  EXPECT_EQ(output.err, "pmemctl: 4 lines more\n");
}

TEST_F(CliTest, StatusPrintsWhatWasInjectedAndHowMuchItLeavesOut) {
  daemon_.answer("InjectedErrors",
                 {{"badblocks", {{{"block", 12}, {"count", 2}}, {{"block", 99}, {"count", 1}}}},
                  {"omitted", 4}});
  const Output output = run({"inject-error", "namespace0.0", "--status"});
  EXPECT_EQ(output.code, 0);
  EXPECT_EQ(output.out, "BLOCK  COUNT\n   12      2\n   99      1\n");
  EXPECT_EQ(output.err, "pmemctl: 4 lines more\n");
}

TEST_F(CliTest, ConfigureShowsValuesAndWhatElseTheyMayBe) {
  daemon_.answer("Settings", {{"namespace", "namespace0.0"},
                              {"settings",
                               {{{"name", "kill"},
                                 {"value", "early"},
                                 {"values", {"late", "early"}},
                                 {"help", "when mappers hear"}}}}});
  EXPECT_EQ(run({"configure", "0.0"}).out,
            "SETTING  VALUE  OR    MEANING\n"
            "kill     early  late  when mappers hear\n");
}

Json scrub(uint64_t done, uint64_t found, bool running) {
  return {{"scrubs",
           {{{"region", "region0"},
             {"offset", 0},
             {"length", 1000},
             {"done", done},
             {"found", found},
             {"failed", 0},
             {"running", running}}}}};
}

TEST_F(CliTest, WaitScrubTellsEachTenthAndThenTheOutcome) {
  const auto step = [](uint64_t done, uint64_t found) {
    return encode(Reply{scrub(done, found, true), /*continues=*/true, {}});
  };
  daemon_.answer_with("WaitScrub",
                      {step(0, 0), step(50, 0), step(250, 0), step(290, 0), step(800, 512),
                       encode(Reply{scrub(1000, 512, false), false, {}})});
  Output output = run({"wait-scrub"});
  EXPECT_EQ(output.code, 0);
  EXPECT_EQ(output.err,
            "region0 0x0-0x3e8: 25 %, nothing found\n"
            "region0 0x0-0x3e8: 80 %, found bad: 512 B\n");
  EXPECT_EQ(output.out, "region0 0x0-0x3e8: found bad: 512 B\n");
  const Json bus = Json::parse(run({"--json", "wait-scrub"}).out);
  EXPECT_EQ(bus["scrub_state"], "idle");
  EXPECT_EQ(bus["scrubs"][0]["found"], 512);

  daemon_.answer("WaitScrub", {{"scrubs", Json::array()}});
  EXPECT_EQ(run({"wait-scrub"}).out, "no scrub has run\n");
}

TEST_F(CliTest, StartScrubTellsThatItHasBegun) {
  daemon_.answer("StartScrub", scrub(0, 0, true));
  EXPECT_EQ(run({"start-scrub"}).out, "region0 0x0-0x3e8: begun\n");
  EXPECT_EQ(Json::parse(run({"--json", "start-scrub"}).out)["scrub_state"], "active");
  daemon_.answer_with("StartScrub", {failure(EBUSY, "region0: a scrub is under way")});
  EXPECT_EQ(run({"start-scrub"}).code, 1);
}

TEST_F(CliTest, MonitorEndsWithItsStream) {
  daemon_.answer_with(
      "Monitor",
      {encode(Reply{Json::object(), true, {}}), encode(Reply{{{"missed", 70}}, true, {}}),
       encode(Reply{Json::object(), false, {}})},
      /*hold=*/true);
  const Output output = run({"monitor", "--since", "0", "--no-follow"});
  EXPECT_EQ(output.code, 0);
  EXPECT_EQ(output.out, "70 events missed\n");
}

}  // namespace
}  // namespace pmemd::cli::test
