// refs, debug, and the options of a removal that waits and gives up.
#include <gmock/gmock.h>

#include "tests/unit/cli/fake_daemon.h"

namespace pmemd::cli::test {
namespace {

using ::testing::HasSubstr;

const Json kPin = Json::parse(R"({"kind":"pin","pid":4321,"comm":"ap\u001bp","inode":7,
    "file":"/pmem0/dir/a","offset":4096,"length":8192,"since":"2026-01-02T03:04:05.678901Z"})");
const Json kRefs = Json{
    {"namespace", "namespace0.0"},
    {"state", "enabled"},
    {"held", 4},
    {"unaccounted", 1},
    {"abandoned", 2},
    {"leases", 2},
    {"handles", 1},
    {"mappings", 0},
    {"takeovers", 2},
    {"pins", 1},
    {"requests", 1},
    {"references",
     {Json::parse(R"({"kind":"request","pid":9,"comm":"cat","inode":8,"offset":0,"length":4096,
                      "what":"READ","since":"2026-01-02T03:04:06.000001Z"})"),
      kPin, Json::parse(R"({"kind":"handle","pid":4321,"comm":"app","inode":7,"file":"/pmem0/dir/a",
                      "offset":0,"length":9223372036854775807,
                      "since":"2026-01-02T03:04:04.000001Z"})"),
      Json::parse(R"({"kind":"lease","inode":7,"file":"/pmem0/dir/a","offset":0,"length":4096,
                      "since":"2026-01-02T03:04:05.000001Z"})")}},
    {"omitted", 1}};

TEST_F(CliTest, RefsAndDebugSendWhatTheOptionsSay) {
  EXPECT_EQ(sent_by({"refs", "0.1"}), R"(Refs{"namespace":"namespace0.1"})");
  EXPECT_EQ(sent_by({"refs", "--file", "/pmem0/a", "--offset", "0", "--length=4K"}),
            R"(Refs{"file":"/pmem0/a","offset":0,"length":4096})");
  EXPECT_EQ(sent_by({"refs", "0.1", "--file", "namespace0.1:/a"}),
            R"(Refs{"namespace":"namespace0.1","file":"namespace0.1:/a"})");
  EXPECT_EQ(sent_by({"debug", "fail-at", "disable.flush"}), R"(FailAt{"step":"disable.flush"})");
  EXPECT_EQ(sent_by({"debug", "fail-at", "disable.flush", "--count", "3", "--delay", "2s"}),
            R"(FailAt{"step":"disable.flush","count":3,"delay_ms":2000})");
  EXPECT_EQ(sent_by({"debug", "clear"}), "ClearFaults{}");
  EXPECT_EQ(sent_by({"debug", "list"}), "ListFaults{}");
  EXPECT_EQ(sent_by({"disable-namespace", "0.0", "--wait", "1m"}),
            R"(DisableNamespace{"namespace":"namespace0.0","wait_ms":60000})");
  EXPECT_EQ(sent_by({"disable-region", "0", "--force", "--abandon"}),
            R"(DisableRegion{"region":"region0","force":true,"abandon":true})");
}

TEST_F(CliTest, RefsShowsWhoHasWhatALineEach) {
  daemon_.answer("Refs", kRefs);
  EXPECT_EQ(run({"refs", "0.0"}).out,
            "namespace0.0: enabled; 1 handle, 0 mappings, 1 request\n"
            "  its pagemap: 4 references held (2 leases, 1 pin)\n"
            "  2 takeovers: asked first when a range of theirs is poisoned\n"
            "  leaked: 1 reference, of nothing that is listed\n"
            "  given up by --abandon: 2 references\n"
            " PID  COMMAND       KIND          FILE          RANGE          SINCE (UTC)\n"
            "   9  cat           request READ  inode 8       0x0-0x1000     03:04:06.000\n"
            "4321  ap?p          pin           /pmem0/dir/a  0x1000-0x3000  03:04:05.678\n"
            "4321  app           handle        /pmem0/dir/a  whole file     03:04:04.000\n"
            "      (page cache)  lease         /pmem0/dir/a  0x0-0x1000     03:04:05.000\n"
            "and 1 more\n");
  EXPECT_EQ(Json::parse(run({"--json", "refs", "0.0"}).out), kRefs);
}

TEST_F(CliTest, WhatIsInTheWayIsShownWithTheError) {
  const Error error{{ETIMEDOUT, std::generic_category()}, "namespace0.0: 1 pins left", "wait"};
  daemon_.answer_with(
      "DisableNamespace",
      {encode(failed(error, {{"holders", Json::array()}, {"in_the_way", {kPin}}}))});
  const auto ran = run({"disable-namespace", "0.0", "--force"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("namespace0.0: 1 pins left"));
  EXPECT_THAT(ran.err, HasSubstr("/dir/a"));
  EXPECT_THAT(ran.err, HasSubstr("0x1000-0x3000"));
}

TEST_F(CliTest, DebugListShowsTheSteps) {
  daemon_.answer("ListFaults", {{"faults",
                                 {{{"step", "disable.flush"},
                                   {"what", "writing back"},
                                   {"left", 2},
                                   {"hits", 1},
                                   {"delay_ms", 0}}}}});
  EXPECT_EQ(run({"debug", "list"}).out,
            "STEP           LEFT  HITS  WHAT\n"
            "disable.flush     2     1  writing back\n");
}

TEST_F(CliTest, RefsAndDebugSurviveRepliesOfAnotherVersion) {
  for (const Json& strange : {Json::parse(R"([1,null,{}])"), Json(7), Json("x"), Json()}) {
    daemon_.answer("Refs", {{"references", strange}, {"held", strange}});
    daemon_.answer("ListFaults", {{"faults", strange}});
    (void)run({"refs", "0.0"});
    (void)run({"--json", "refs", "0.0"});
    (void)run({"debug", "list"});
  }
}

TEST_F(CliTest, WrongOptionsOfThemAreRefusedUnsent) {
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"refs"},
           {"refs", "0.0", "--offset", "x"},
           {"debug"},
           {"debug", "fail-at"},
           {"debug", "fail-at", "a", "--count", "0"},
           {"debug", "fail-at", "a", "--count", "1x"},
           {"debug", "fail-at", "a", "--delay", "5"},
           {"disable-namespace", "0.0", "--abandon"},
           {"disable-namespace", "0.0", "--force", "--wait", "1s"}}) {
    EXPECT_EQ(run(args).code, 2) << args.back();
  }
  EXPECT_TRUE(daemon_.calls().empty());
}

}  // namespace
}  // namespace pmemd::cli::test
