#include "cli/run.h"

#include <gmock/gmock.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "tests/unit/cli/fake_daemon.h"

namespace pmemd::cli::test {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const Json kRegion = Json::parse(R"({"dev":"region0","size":1073741824,"align":2097152,
    "available_size":67108864,"max_available_extent":4194304,"type":"pmem",
    "persistence_domain":"unknown","base":4294967296,"sparse":true})");
const Json kFsdax = Json::parse(R"({"dev":"namespace0.0","mode":"fsdax","map":"dev",
    "size":1071644672,"uuid":"18ae1bbb-bb62-4efc-86df-4a5caacb5dcc","sector_size":512,
    "align":2097152,"blockdev":"pmem0","region":"region0"})");
const Json kDevdax = Json::parse(R"({"dev":"namespace0.1","mode":"devdax","map":"dev",
    "size":2097152,"uuid":"28ae1bbb-bb62-4efc-86df-4a5caacb5dcc","chardev":"dax0.1",
    "align":2097152,"state":"disabled","region":"region0"})");
const Json kHolder = Json::parse(R"({"pid":4321,"comm":"post\u001b[31mgres","uid":999,"mappings":[
    {"namespace":"namespace0.0","file":"/pmem0/dir/a","offset":4096,"length":8192,
     "address":139637976727552,"pages_present":1,"private":false}],
    "open_files":[{"namespace":"namespace0.0","file":"/pmem0/dir/a","fd":3},
                  {"namespace":"namespace0.0","file":"/pmem0/log","fd":4}],
    "signal":"SIGBUS","code":"BUS_ADRERR"})");
const Json kReport =
    Json{{"namespace", "namespace0.0"},
         {"state", "disabled"},
         {"dry_run", false},
         {"surprise", false},
         {"hits_mappings", true},
         {"holders", {kHolder}},
         {"killed", {7}},
         {"lent_ranges", 1},
         {"lent_bytes", 8192},
         {"files_flushed", 2},
         {"files_revoked", 3},
         {"pages_left", 0},
         {"requests_left", 0},
         {"steps", {{{"name", "kill"}, {"us", 12}}, {{"name", "flush"}, {"us", 1500}}}}};

// ---- What is sent

TEST_F(CliTest, SendsWhatTheOptionsSay) {
  EXPECT_EQ(sent_by({"list"}), R"(List{"namespaces":true})");
  EXPECT_EQ(sent_by({"list", "-RNi"}), R"(List{"regions":true,"namespaces":true,"idle":true})");
  EXPECT_EQ(sent_by({"list", "--regions"}), R"(List{"regions":true})");
  EXPECT_EQ(sent_by({"status"}), "Status{}");
  EXPECT_EQ(sent_by({"check"}), "Check{}");
  EXPECT_EQ(sent_by({"mappers"}), "Mappers{}");
  EXPECT_EQ(sent_by({"mappers", "0.1"}), R"(Mappers{"namespace":"namespace0.1"})");
  EXPECT_EQ(sent_by({"create-region", "--size", "1G", "--sparse"}),
            R"(CreateRegion{"size":1073741824,"sparse":true})");
  for (const std::string base : {"6G", "6442450944", "0x180000000", "0X180000000"}) {
    EXPECT_EQ(sent_by({"create-region", "-s", "4M", "--base", base}),
              R"(CreateRegion{"size":4194304,"base":6442450944})");
  }
  EXPECT_EQ(sent_by({"create-region", "-s", "4M", "--base", "0"}),
            R"(CreateRegion{"size":4194304,"base":0})");
  EXPECT_EQ(sent_by({"create-namespace"}), "CreateNamespace{}");
  EXPECT_EQ(
      sent_by({"create-namespace", "-m", "devdax", "-s64M", "-r", "0", "--align=4M"}),
      R"(CreateNamespace{"mode":"devdax","size":67108864,"region":"region0","align":4194304})");
  EXPECT_EQ(sent_by({"destroy-namespace", "namespace0.0", "-f"}),
            R"(DestroyNamespace{"namespace":"namespace0.0","force":true})");
  EXPECT_EQ(sent_by({"destroy-region", "1"}), R"(DestroyRegion{"region":"region1"})");
  EXPECT_EQ(sent_by({"destroy-region", "region1", "--force"}),
            R"(DestroyRegion{"region":"region1","force":true})");
  EXPECT_EQ(sent_by({"enable-namespace", "namespace0.0"}),
            R"(EnableNamespace{"namespace":"namespace0.0"})");
  EXPECT_EQ(sent_by({"explain", "1024"}), R"(Explain{"pfn":1024})");
  EXPECT_EQ(sent_by({"explain", "0x400"}), R"(Explain{"pfn":1024})");
  EXPECT_EQ(sent_by({"explain", "--address", "4G"}), R"(Explain{"address":4294967296})");
  EXPECT_EQ(sent_by({"enable-region", "region1"}), R"(EnableRegion{"region":"region1"})");
  EXPECT_EQ(sent_by({"disable-namespace", "namespace0.0"}),
            R"(DisableNamespace{"namespace":"namespace0.0"})");
  EXPECT_EQ(sent_by({"disable-namespace", "namespace0.0", "--force", "--force"}),
            R"(DisableNamespace{"namespace":"namespace0.0","force":true})");
  EXPECT_EQ(sent_by({"disable-region", "region0", "-f", "--surprise", "--grace=5s", "--kill",
                     "--drain-timeout", "2m"}),
            R"(DisableRegion{"region":"region0","force":true,"surprise":true,"grace_ms":5000,)"
            R"("kill":true,"drain_timeout_ms":120000})");
  EXPECT_EQ(sent_by({"disable-namespace", "namespace0.0", "--dry-run", "--surprise"}),
            R"(DisableNamespace{"namespace":"namespace0.0","surprise":true,"dry_run":true})");
}

TEST_F(CliTest, TakesTheSocketFromTheEnvironment) {
  daemon_.answer("EnableRegion", Json::object());
  ::setenv("PMEMD_SOCKET", socket_.c_str(), 1);
  std::ostringstream out;
  const char* argv[] = {"pmemctl", "enable-region", "region0"};
  EXPECT_EQ(cli::run(3, argv, {out, out}), 0);
  ::unsetenv("PMEMD_SOCKET");
}

TEST_F(CliTest, SocketOptionIsStrongerThanTheEnvironment) {
  daemon_.answer("EnableRegion", Json::object());
  ::setenv("PMEMD_SOCKET", "/nowhere", 1);
  EXPECT_EQ(run({"enable-region", "region0"}).code, 0);
  ::unsetenv("PMEMD_SOCKET");
}

// ---- Usage

TEST_F(CliTest, WrongArgumentsAreUsageErrorsAndSendNothing) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"frobnicate"},
      {"--frobnicate"},
      {"list", "extra"},
      {"list", "--frobnicate"},
      {"status", "extra"},
      {"mappers", "a", "b"},
      {"monitor", "extra"},
      {"check", "--pool"},
      {"create-region"},
      {"create-region", "--size", "0"},
      {"create-region", "--size", "1X"},
      {"create-region", "--size", "1G", "--base", "high"},
      {"create-region", "--size", "1G", "--base", "-2M"},
      {"explain"},
      {"explain", "page"},
      {"explain", "-1"},
      {"explain", ""},
      {"explain", "0x"},
      {"explain", "12k"},
      {"explain", "0x10000000000000000"},
      {"explain", "9223372036854775808"},
      {"explain", "1", "2"},
      {"explain", "1", "--address", "4096"},
      {"explain", "--address", "4Q"},
      {"create-region", "--size", "16777216T"},
      {"create-namespace", "--mode", "sector"},
      {"create-namespace", "--size", "-1"},
      {"create-namespace", "--align", "x"},
      {"destroy-namespace"},
      {"destroy-region"},
      {"enable-namespace"},
      {"enable-region"},
      {"disable-namespace"},
      {"disable-namespace", "namespace0.0", "--kill"},
      {"disable-namespace", "namespace0.0", "--surprise"},
      {"disable-namespace", "namespace0.0", "--grace=5s"},
      {"disable-namespace", "namespace0.0", "--force", "--grace=5"},
      {"disable-namespace", "namespace0.0", "--force", "--grace=fast"},
      {"disable-namespace", "namespace0.0", "--force", "--grace=9999999999h"},
      {"disable-namespace", "namespace0.0", "--force", "--drain-timeout=-1s"},
      {"disable-region"},
      {"disable-region", "region0", "--kill"},
  };
  for (const auto& args : wrong) {
    const Output output = run(args);
    const std::string shown = testing::PrintToString(args);
    EXPECT_EQ(output.code, 2) << shown;
    EXPECT_THAT(output.err, AllOf(StartsWith("pmemctl: "), EndsWith(" --help)\n"))) << shown;
    EXPECT_EQ(output.out, "") << shown;
  }
  EXPECT_TRUE(daemon_.calls().empty());
  EXPECT_EQ(run({"create-region", "--size", "1X"}).err,
            "pmemctl: --size: size '1X': unknown unit (write a number and a unit: 64M, 1G, 1T) "
            "(see pmemctl create-region --help)\n");
}

TEST_F(CliTest, EachVerbHelpsWithAnExample) {
  const Output all = run({"--help"});
  EXPECT_EQ(all.code, 0);
  for (const std::string verb :
       {"list", "status", "create-region", "destroy-region", "create-namespace",
        "destroy-namespace", "enable-namespace", "disable-namespace", "enable-region",
        "disable-region", "mappers", "monitor", "check", "explain"}) {
    EXPECT_THAT(all.out, HasSubstr("\n  " + verb + " "));
    const Output help = run({verb, "--help"});
    EXPECT_EQ(help.code, 0);
    EXPECT_THAT(help.out, HasSubstr("Example:\n  pmemctl "));
    EXPECT_THAT(help.out, HasSubstr(verb));
  }
  EXPECT_EQ(run({"--version"}).out, "pmemctl " PMEMD_VERSION "\n");
}

// ---- Tables

TEST_F(CliTest, ListsTablesForPeople) {
  daemon_.answer("List", {{"regions", {kRegion}}, {"namespaces", {kFsdax, kDevdax}}});
  EXPECT_EQ(run({"list", "-RNi"}).out,
            "REGION    SIZE  AVAILABLE  LARGEST         BASE  SPACE\n"
            "region0  1 GiB     64 MiB    4 MiB  0x100000000  sparse\n"
            "\n"
            "NAMESPACE     MODE        SIZE  ALIGN  STATE     DEVICE  UUID\n"
            "namespace0.0  fsdax   1022 MiB  2 MiB  enabled   pmem0   "
            "18ae1bbb-bb62-4efc-86df-4a5caacb5dcc\n"
            "namespace0.1  devdax     2 MiB  2 MiB  disabled  dax0.1  "
            "28ae1bbb-bb62-4efc-86df-4a5caacb5dcc\n");
  daemon_.answer("List", {{"namespaces", Json::array()}});
  EXPECT_EQ(run({"list"}).out, "no namespaces (--idle lists the disabled ones too)\n");
}

TEST_F(CliTest, ShowsWhoWasHitBesideTheSteps) {
  daemon_.answer("DisableNamespace", {{"report", kReport}});
  const Output output = run({"disable-namespace", "namespace0.0", "--force"});
  EXPECT_EQ(output.code, 0);
  EXPECT_EQ(output.out,
            "namespace0.0: disabled in 1.5 ms; 1 process lost it\n"
            "  kill 12 us, flush 1.5 ms\n"
            "  taken back: 8 KiB in 1 range lent; 2 files flushed, 3 revoked\n"
            "  killed: 7\n"
            " PID  COMMAND        UID  FILE          RANGE          PRESENT  GETS\n"
            "4321  post?[31mgres  999  /pmem0/dir/a  0x1000-0x3000   1 page  "
            "SIGBUS BUS_ADRERR\n"
            "4321  post?[31mgres  999  /pmem0/log    fd 4              open\n");
}

TEST_F(CliTest, ShowsWhatBecameOfWhoWasHitAndWhatTheKernelHas) {
  Json ended = kHolder, gone = kHolder, loop = kHolder, report = kReport;
  ended["became"] = "ended";
  ended["ended_by"] = "SIGBUS";
  gone["became"] = "let go";
  loop["kernel"] = "loop0";
  loop["comm"] = "";
  loop["mappings"] = Json::array();
  loop["open_files"] = Json::parse(R"([{"namespace":"namespace0.0","file":"/pmem0/disk"}])");
  report["holders"] = {kHolder, ended, gone, loop};
  daemon_.answer("DisableNamespace", {{"report", report}});
  const std::string out = run({"disable-namespace", "namespace0.0", "--force"}).out;
  EXPECT_THAT(out, HasSubstr("; 3 processes lost it (1 ended), 1 let go before\n"));
  EXPECT_THAT(out, HasSubstr("  ended: SIGBUS\n"));
  EXPECT_THAT(out, HasSubstr("  let go\n"));
  EXPECT_THAT(out, HasSubstr("(ended)"));
  EXPECT_THAT(out, HasSubstr("  by loop0 "));
}

TEST_F(CliTest, DryRunsSayWhatWouldBe) {
  Json report = kReport;
  report["dry_run"] = true;
  report["state"] = "enabled";
  daemon_.answer("DisableRegion", {{"reports", {report, report}}});
  const std::string out = run({"disable-region", "region0", "--dry-run"}).out;
  EXPECT_THAT(out, StartsWith("namespace0.0: would be disabled; 1 process would lose it\n"
                              "  to take back: 8 KiB in 1 range lent\n"));
  EXPECT_THAT(out, HasSubstr("\n\nnamespace0.0: would be"));
}

TEST_F(CliTest, ShowsWhatIsLeftAfterARemoval) {
  Json report = kReport;
  report["pages_left"] = 1;
  report["lost_writebacks"] = 3;
  report["requests_left"] = 2;
  daemon_.answer("DisableNamespace", {{"report", report}});
  EXPECT_THAT(run({"disable-namespace", "namespace0.0", "-f"}).out,
              HasSubstr("  still mapped: 1 page\n"
                        "  lost: 3 dirty pages not written back\n"
                        "  still under way: 2 requests\n"));
}

TEST_F(CliTest, ShowsStatusMappersAndFindings) {
  daemon_.answer("Status", Json::parse(R"({"version":"0.1.0","pid":12,"pool":"/p","mount":"/m",
      "uptime_s":3720,"privileged":false,"tuned":false,"regions":1,"namespaces":2,"enabled":1,
      "requests":9,"open_handles":2,"lent_ranges":3,"lent_bytes":4096,"subscribers":1,"events":4})"));
  EXPECT_EQ(run({"status"}).out,
            "daemon      pmemd 0.1.0, pid 12, up 1 h 2 min, without privileges\n"
            "pool        /p\n"
            "mount       /m\n"
            "writeback   default limits: stores are throttled (run as root)\n"
            "regions     1\n"
            "namespaces  2, 1 enabled\n"
            "requests    9\n"
            "handles     2 open\n"
            "lent        4 KiB in 3 ranges\n"
            "events      4, 1 subscriber\n");
  daemon_.answer("Status", {{"tuned", true}, {"dirty_background_bytes", 1 << 30}});
  EXPECT_THAT(run({"status"}).out,
              HasSubstr("stores at memory speed, up to 1 GiB dirty on the host\n"));
  daemon_.answer("Mappers", {{"holders", Json::array()}});
  EXPECT_EQ(run({"mappers"}).out, "nobody maps or holds open anything\n");
  daemon_.answer("Check", {{"findings", Json::array()}});
  EXPECT_EQ(run({"check"}).out, "no problems found\n");
  EXPECT_EQ(run({"check"}).code, 0);
  daemon_.answer("Check", {{"findings", {{{"object", "pool.db"}, {"problem", "corrupt"}}}}});
  EXPECT_EQ(run({"check"}).out, "pool.db: corrupt\n");
  EXPECT_EQ(run({"check"}).code, 1);
}

const Json kExplanation = Json::parse(R"({"pfn":1049088,"address":4297064448,"section":32,
    "subsection":1,"pfn_valid":true,"online":false,
    "pagemap":{"name":"namespace0.0","type":"fsdax","state":"live","references":3},
    "pgmap_pfn_valid":true,"region":"region0","namespace":"namespace0.0","state":"enabled",
    "area":"data","offset":4096,"steps":[
    {"function":"pfn_valid","asked":"is the section number in range?","yes":true,"found":"a"},
    {"function":"pfn_valid","asked":"is the section there?","yes":true,"found":"b"},
    {"function":"pfn_to_online_page","asked":"is the section online?","yes":false,"found":"c"}],
    "verdict":"a device page of namespace0.0 (fsdax): not online"})");

TEST_F(CliTest, ExplainsAPageStepByStep) {
  daemon_.answer("Explain", kExplanation);
  EXPECT_EQ(run({"explain", "0x100200"}).out,
            "pfn 0x100200: a device page of namespace0.0 (fsdax): not online\n"
            "  address 0x100200000, section 32, subsection 1\n"
            "  region0, namespace0.0 (enabled): data, offset 0x1000\n"
            "  pagemap namespace0.0: fsdax, live; references: 3\n"
            "pfn_valid\n"
            "  is the section number in range?           yes  a\n"
            "  is the section there?                     yes  b\n"
            "pfn_to_online_page\n"
            "  is the section online?                    no   c\n");
  EXPECT_EQ(Json::parse(run({"-j", "explain", "0x100200"}).out), kExplanation);
  Json metadata = kExplanation;
  metadata["area"] = "metadata";
  daemon_.answer("Explain", metadata);
  EXPECT_THAT(run({"explain", "0x100200"}).out, HasSubstr(" (enabled): metadata\n"));
  daemon_.answer("Explain", {{"region", "region1"}});
  EXPECT_THAT(run({"explain", "0"}).out, HasSubstr("  region1, no namespace\n"));
  for (const Json& strange : {Json::object(), Json{{"pagemap", 7}, {"steps", {1, nullptr}}}}) {
    daemon_.answer("Explain", strange);
    (void)run({"explain", "0"});
  }
}

TEST_F(CliTest, NumbersThatAreNoneAreToldWithAWayOn) {
  EXPECT_THAT(run({"explain", "page"}).err,
              HasSubstr("'page' is not a number (decimal, or hexadecimal with 0x)"));
  EXPECT_THAT(run({"explain", "--address", "4Q"}).err, HasSubstr("'4Q' is not an address"));
  EXPECT_THAT(run({"explain"}).err, HasSubstr("wants PFN or --address"));
}

TEST_F(CliTest, SurvivesRepliesOfAnotherVersion) {
  const Json strange = Json::parse(R"([1,null,"x",{},{"dev":7,"size":"big","steps":3,"holders":{},
      "mappings":[null],"state":null}])");
  for (const std::string verb : {"list -RN", "mappers", "status", "check", "disable-region r -f"}) {
    std::vector<std::string> args;
    std::istringstream words(verb);
    for (std::string word; words >> word;) args.push_back(word);
    for (const char* method : {"List", "Mappers", "Status", "Check", "DisableRegion"}) {
      daemon_.answer(method, {{"regions", strange},
                              {"namespaces", strange},
                              {"holders", strange},
                              {"findings", strange},
                              {"reports", strange}});
    }
    (void)run(args);
    args.insert(args.begin(), "--json");
    (void)run(args);
    for (const char* method : {"List", "Mappers", "Status", "Check", "DisableRegion"}) {
      daemon_.answer(method, {{"regions", 1},
                              {"namespaces", "x"},
                              {"holders", nullptr},
                              {"findings", Json::object()},
                              {"reports", false}});
    }
    (void)run(args);
    args.erase(args.begin());
    (void)run(args);
  }
}

// ---- JSON

TEST_F(CliTest, PrintsOneObjectBareAndSeveralAsAnArray) {
  daemon_.answer("List", {{"namespaces", {kDevdax}}});
  EXPECT_EQ(run({"--json", "list"}).out,
            "{\n"
            "  \"dev\":\"namespace0.1\",\n"
            "  \"mode\":\"devdax\",\n"
            "  \"map\":\"dev\",\n"
            "  \"size\":2097152,\n"
            "  \"uuid\":\"28ae1bbb-bb62-4efc-86df-4a5caacb5dcc\",\n"
            "  \"chardev\":\"dax0.1\",\n"
            "  \"align\":2097152,\n"
            "  \"state\":\"disabled\",\n"
            "  \"region\":\"region0\"\n"
            "}\n");
  daemon_.answer("List", {{"namespaces", {kFsdax, kDevdax}}});
  const std::string out = run({"list", "-j"}).out;
  EXPECT_THAT(out, StartsWith("[\n  {\n    \"dev\":\"namespace0.0\",\n"));
  EXPECT_EQ(Json::parse(out), (Json{kFsdax, kDevdax}));
  daemon_.answer("List", {{"namespaces", Json::array()}});
  EXPECT_EQ(run({"--json", "list"}).out, "");
}

TEST_F(CliTest, NestsNamespacesInTheirRegions) {
  Json other = kRegion;
  other["dev"] = "region1";
  daemon_.answer("List", {{"regions", {kRegion, other}}, {"namespaces", {kFsdax, kDevdax}}});
  const Json out = Json::parse(run({"--json", "list", "-RN"}).out);
  ASSERT_EQ(out.size(), 2u);
  ASSERT_EQ(out[0]["namespaces"].size(), 2u);
  EXPECT_EQ(out[0]["namespaces"][1]["dev"], "namespace0.1");
  EXPECT_FALSE(out[0]["namespaces"][1].contains("region"));
  EXPECT_FALSE(out[1].contains("namespaces"));
}

TEST_F(CliTest, HumanSizesAreNdctls) {
  daemon_.answer("List", {{"regions", {kRegion}}});
  const Json out = Json::parse(run({"--json", "list", "-Ru"}).out);
  EXPECT_EQ(out["size"], "1024.00 MiB (1073.74 MB)");
  EXPECT_EQ(out["available_size"], "64.00 MiB (67.11 MB)");
  EXPECT_EQ(out["max_available_extent"], 4194304);
  EXPECT_EQ(out["align"], 2097152);
  EXPECT_EQ(out["base"], "0x100000000");
}

TEST_F(CliTest, PrintsReportsAndCreatedObjectsBareInJson) {
  daemon_.answer("DisableNamespace", {{"report", kReport}});
  EXPECT_EQ(Json::parse(run({"-j", "disable-namespace", "namespace0.0", "-f"}).out), kReport);
  daemon_.answer("CreateNamespace", {{"namespace", kFsdax}});
  EXPECT_EQ(Json::parse(run({"-j", "create-namespace"}).out), kFsdax);
  daemon_.answer("EnableNamespace", Json::object());
  EXPECT_EQ(run({"-j", "enable-namespace", "0.0"}).out, "");
  EXPECT_EQ(run({"enable-namespace", "0.0"}).out, "namespace0.0: enabled\n");
}

// ---- Errors

TEST_F(CliTest, BusyListsTheHoldersOnStderr) {
  daemon_.answer_with("DisableNamespace", {failure(EBUSY, "namespace0.0: in use by 1 process",
                                                   {{"holders", {kHolder}}})});
  const Output output = run({"disable-namespace", "namespace0.0"});
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.out, "");
  EXPECT_THAT(output.err, StartsWith("pmemctl: namespace0.0: in use by 1 process (a way on)\n"
                                     " PID  COMMAND"));
  const Output json = run({"--json", "disable-namespace", "namespace0.0"});
  EXPECT_EQ(json.code, 1);
  EXPECT_EQ(json.out, "");
  EXPECT_EQ(json.err.find('\n'), json.err.size() - 1);
  const Json error = Json::parse(json.err);
  EXPECT_EQ(error["error"], "org.pmemd.Failed");
  EXPECT_EQ(error["parameters"]["errno_name"], "EBUSY");
  EXPECT_EQ(error["parameters"]["holders"], Json::array({kHolder}));
}

TEST_F(CliTest, TellsOfRefusalsAndOtherErrors) {
  daemon_.answer_with("EnableRegion",
                      {encode(VarlinkError{"org.varlink.service.PermissionDenied"})});
  EXPECT_THAT(run({"enable-region", "region0"}).err, StartsWith("pmemctl: permission denied"));
  daemon_.answer_with(
      "EnableRegion",
      {encode(VarlinkError{"org.varlink.service.MethodNotFound", {{"method", "x\n"}}})});
  EXPECT_EQ(run({"enable-region", "region0"}).err,
            "pmemctl: the daemon answered org.varlink.service.MethodNotFound {\"method\":\"x\\n\"} "
            "(is it of another version?)\n");
  daemon_.answer_with("EnableRegion", {std::string("garbage\0", 8)});
  EXPECT_EQ(run({"enable-region", "region0"}).err,
            "pmemctl: the daemon's reply: not a JSON object\n");
  daemon_.answer_with("EnableRegion", std::vector<std::string>());
  EXPECT_EQ(run({"enable-region", "region0"}).err, "pmemctl: " + socket_ + ": the daemon ended\n");
}

TEST_F(CliTest, TellsWhenNobodyServesTheSocket) {
  socket_ = directory_.path() + "/nothing";
  const Output output = run({"status"});
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.err, "pmemctl: " + socket_ +
                            ": no daemon answers (start one: pmemd --pool DIR --mount DIR; or name "
                            "its socket with --socket)\n");
  socket_ = directory_.path() + "/" + std::string(200, 'x');
  EXPECT_THAT(run({"status"}).err, HasSubstr("File name too long"));
}

// ---- Monitor, interruption, check --pool

std::string event(int seq) {
  const Json json = {{"seq", seq},           {"time", "2026-01-02T03:04:05.000006Z"},
                     {"kind", "pre-remove"}, {"namespace", "namespace0.0"},
                     {"offset", 4096},       {"length", 4096},
                     {"file", "/a"},         {"file_offset", 0},
                     {"file_length", 4096}};
  return encode(Reply{{{"event", json}}, /*continues=*/true, {}});
}
const std::string kSubscribed = encode(Reply{Json::object(), /*continues=*/true, {}});
const std::string kMissed = encode(Reply{{{"missed", 5}}, /*continues=*/true, {}});

TEST_F(CliTest, MonitorPrintsALineAnEventAndFailsWhenTheDaemonEnds) {
  daemon_.answer_with("Monitor", {kSubscribed, event(1), kMissed, event(7)});
  const std::string line =
      "2026-01-02T03:04:05.000006Z  pre-remove  namespace0.0  0x1000-0x2000  /a  0x0-0x1000\n";
  const Output output = run({"monitor"});
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.out, line + "5 events missed\n" + line);
  EXPECT_EQ(output.err, "pmemctl: " + socket_ + ": the daemon ended\n");
  EXPECT_TRUE(daemon_.calls().back().more);

  std::istringstream lines(run({"--json", "monitor"}).out);
  std::vector<Json> objects;
  for (std::string text; std::getline(lines, text);) objects.push_back(Json::parse(text));
  ASSERT_EQ(objects.size(), 3u);
  EXPECT_EQ(objects[0]["seq"], 1);
  EXPECT_EQ(objects[1], (Json{{"missed", 5}}));
  EXPECT_EQ(objects[2]["seq"], 7);
}

TEST_F(CliTest, InterruptionEndsMonitorWell) {
  daemon_.answer_with("Monitor", {kSubscribed}, /*hold=*/true);
  const UniqueFd stop(::eventfd(1, EFD_CLOEXEC));
  const Output output = run({"monitor"}, stop.get());
  EXPECT_EQ(output.code, 0);
  EXPECT_EQ(output.err, "");
}

TEST_F(CliTest, InterruptionOfOtherVerbsSaysThatTheDaemonGoesOn) {
  daemon_.answer_with("EnableRegion", {}, /*hold=*/true);
  const UniqueFd stop(::eventfd(1, EFD_CLOEXEC));
  const Output output = run({"enable-region", "region0"}, stop.get());
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.err, "pmemctl: interrupted (the daemon goes on with it)\n");
}

TEST_F(CliTest, MonitorEndsWhenNobodyReads) {
  daemon_.answer_with("Monitor", {kSubscribed, event(1), event(2)}, /*hold=*/true);
  std::ofstream full("/dev/full");
  std::ostringstream err;
  const char* argv[] = {"pmemctl", "--socket", socket_.c_str(), "monitor"};
  EXPECT_EQ(cli::run(4, argv, {full, err}), 0);
}

TEST_F(CliTest, CheckOfAPoolIsTheDaemonsOwn) {
  const std::string program = directory_.path() + "/pmemd";
  std::ofstream(program)
      << "#!/bin/sh\n[ \"$*\" = \"--check --pool /some/pool --json\" ] && exit 7\n";
  ASSERT_EQ(::chmod(program.c_str(), 0755), 0);
  const auto exit_code = [&](const std::string& path) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("PATH", path.c_str(), 1);
      ::_exit(run({"--json", "check", "--pool", "/some/pool"}).code);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
  };
  EXPECT_EQ(exit_code(directory_.path()), 7);
  EXPECT_EQ(exit_code("/nowhere"), 1);
  EXPECT_TRUE(daemon_.calls().empty());
}

}  // namespace
}  // namespace pmemd::cli::test
