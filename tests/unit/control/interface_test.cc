#include "core/control/interface.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "tests/unit/control/idl.h"

namespace pmemd {
namespace {

const test::Idl& idl() {
  static const test::Idl kIdl = test::Idl::parse(interface_description(kInterface));
  return kIdl;
}

ParameterType type_of(const test::IdlType& type) {
  if (type.name == "bool") return ParameterType::kBool;
  if (type.name == "int") return ParameterType::kInt;
  EXPECT_EQ(type.name, "string");
  return type.array ? ParameterType::kTexts : ParameterType::kText;
}

std::string error_of(const Call& call) {
  const auto method = find_method(call);
  if (!method) return method.error().name + method.error().parameters.dump();
  const auto wrong = check_parameters(**method, call);
  return wrong ? wrong->name + wrong->parameters.dump() : "";
}

TEST(Interface, FilesAndTableAgree) {
  for (const std::string_view name : {kInterface, kServiceInterface}) {
    const test::Idl file = test::Idl::parse(interface_description(name));
    EXPECT_EQ(file.interface, name);
    size_t in_table = 0;
    for (const Method& method : methods()) {
      if (method.interface != name) continue;
      ++in_table;
      const auto found = file.methods.find(std::string(method.name));
      ASSERT_NE(found, file.methods.end()) << method.name;
      ASSERT_EQ(found->second.in.size(), method.parameters.size()) << method.name;
      for (size_t i = 0; i < method.parameters.size(); ++i) {
        EXPECT_EQ(found->second.in[i].name, method.parameters[i].name);
        EXPECT_EQ(type_of(found->second.in[i].type), method.parameters[i].type);
        EXPECT_EQ(found->second.in[i].type.optional, method.parameters[i].optional);
      }
    }
    EXPECT_EQ(in_table, file.methods.size());
  }
}

TEST(Interface, OnlyMethodsThatChangeNothingAreForEveryone) {
  std::set<std::string_view> open;
  for (const Method& method : methods()) {
    if (method.interface == kInterface && method.access == Access::kAnyone) {
      open.insert(method.name);
    }
  }
  EXPECT_EQ(open, (std::set<std::string_view>{"BadBlocks", "Check", "Explain", "InjectedErrors",
                                              "List", "ListFaults", "Mappers", "Monitor", "Refs",
                                              "Settings", "Status", "WaitScrub"}));
}

TEST(Interface, NamesWhatIsNotThere) {
  EXPECT_EQ(error_of({"org.pmemd.Nothing"}),
            R"(org.varlink.service.MethodNotFound{"method":"org.pmemd.Nothing"})");
  EXPECT_EQ(error_of({"org.example.List"}),
            R"(org.varlink.service.InterfaceNotFound{"interface":"org.example"})");
  EXPECT_EQ(error_of({"List"}), R"(org.varlink.service.InterfaceNotFound{"interface":"List"})");
  EXPECT_EQ(error_of({"org.pmemd"}), R"(org.varlink.service.InterfaceNotFound{"interface":"org"})");
  EXPECT_EQ(error_of({"."}), R"(org.varlink.service.InterfaceNotFound{"interface":""})");
  EXPECT_LT(error_of({std::string(10'000, 'x')}).size(), 400u);
}

TEST(Interface, ChecksParameters) {
  const auto create_region = [](Json parameters) {
    return error_of({"org.pmemd.CreateRegion", std::move(parameters)});
  };
  const auto wrong = [](std::string_view name) {
    return R"(org.varlink.service.InvalidParameter{"parameter":")" + std::string(name) + "\"}";
  };
  EXPECT_EQ(create_region({{"size", 4096}}), "");
  EXPECT_EQ(create_region({{"size", 4096}, {"sparse", nullptr}}), "");
  EXPECT_EQ(create_region({{"size", INT64_MAX}}), "");
  EXPECT_EQ(create_region(Json::object()), wrong("size"));
  EXPECT_EQ(create_region({{"size", nullptr}}), wrong("size"));
  EXPECT_EQ(create_region({{"size", -1}}), wrong("size"));
  EXPECT_EQ(create_region({{"size", uint64_t{1} << 63}}), wrong("size"));
  EXPECT_EQ(create_region({{"size", 1.0}}), wrong("size"));
  EXPECT_EQ(create_region({{"size", "4096"}}), wrong("size"));
  EXPECT_EQ(create_region({{"size", 4096}, {"sparse", 1}}), wrong("sparse"));
  EXPECT_EQ(create_region({{"size", 4096}, {"base", 0}}), "");
  EXPECT_EQ(create_region({{"size", 4096}, {"base", -1}}), wrong("base"));
  EXPECT_EQ(create_region({{"size", 4096}, {"other", 1}}), wrong("other"));

  const auto enable = [](const std::string& name) {
    return error_of({"org.pmemd.EnableNamespace", {{"namespace", name}}});
  };
  EXPECT_EQ(enable(std::string(kMaxTextBytes, 'a')), "");
  EXPECT_EQ(enable(std::string(kMaxTextBytes + 1, 'a')), wrong("namespace"));
  EXPECT_EQ(enable(std::string("a\0b", 3)), wrong("namespace"));

  const auto create_volume = [](Json legs) {
    return error_of({"org.pmemd.CreateVolume", {{"legs", std::move(legs)}}});
  };
  EXPECT_EQ(create_volume({"namespace0.0", "namespace0.1"}), "");
  EXPECT_EQ(create_volume("namespace0.0"), wrong("legs"));
  EXPECT_EQ(create_volume({"namespace0.0", 1}), wrong("legs"));
  EXPECT_EQ(create_volume({std::string("a\0b", 3)}), wrong("legs"));
  EXPECT_EQ(error_of({"org.pmemd.CreateVolume"}), wrong("legs"));
}

TEST(Interface, StreamsWantMore) {
  EXPECT_EQ(error_of({"org.pmemd.Monitor"}), "org.varlink.service.ExpectedMore{}");
  EXPECT_EQ(error_of({"org.pmemd.Monitor", Json::object(), /*more=*/true}), "");
}

TEST(Interface, IntrospectionServesTheFiles) {
  const test::Idl service = test::Idl::parse(interface_description(kServiceInterface));
  const auto info = answer_service_call({"org.varlink.service.GetInfo"});
  ASSERT_TRUE(info);
  EXPECT_EQ(service.check_reply("GetInfo", *info), "");
  for (const Json& name : (*info)["interfaces"]) {
    const auto text =
        answer_service_call({"org.varlink.service.GetInterfaceDescription", {{"interface", name}}});
    ASSERT_TRUE(text);
    EXPECT_EQ(test::Idl::parse((*text)["description"].get<std::string>()).interface,
              name.get<std::string>());
  }
  const auto unknown = answer_service_call(
      {"org.varlink.service.GetInterfaceDescription", {{"interface", "org.example"}}});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().name, "org.varlink.service.InterfaceNotFound");
}

// One example of each reply, as docs/pmemctl.md shows them.
TEST(Interface, ExamplesOfEachReplyFit) {
  const Json region = Json::parse(R"({"dev":"region0","size":1073741824,"align":2097152,
      "available_size":0,"max_available_extent":0,"type":"pmem","persistence_domain":"unknown",
      "base":4294967296,"sparse":false,"badblock_count":2,"badblocks":[
      {"offset":12,"length":2,"dimms":["nmem0"]}]})");
  const Json fsdax = Json::parse(R"({"dev":"namespace0.0","mode":"fsdax","map":"dev",
      "size":1071644672,"uuid":"18ae1bbb-bb62-4efc-86df-4a5caacb5dcc","sector_size":512,
      "align":2097152,"blockdev":"pmem0","region":"region0"})");
  const Json devdax = Json::parse(R"({"dev":"namespace0.1","mode":"devdax","map":"dev",
      "size":1071644672,"uuid":"18ae1bbb-bb62-4efc-86df-4a5caacb5dcc","chardev":"dax0.1",
      "align":2097152,"state":"disabled","region":"region0",
      "daxregion":{"id":0,"size":4096,"align":4096,"devices":[
      {"chardev":"dax0.1","size":4096,"mode":"devdax"}]}})");
  const Json volume = Json::parse(R"({"dev":"volume0","type":"striped","size":8388608,
      "uuid":"18ae1bbb-bb62-4efc-86df-4a5caacb5dcc","chunk":65536,"blockdev":"vol0",
      "legs":["namespace0.0","namespace0.1"],"missing":["namespace0.1"],"volume":"volume1"})");
  const Json holder = Json::parse(R"({"pid":1,"comm":"app","uid":0,"mappings":[{
      "namespace":"namespace0.0","file":"/pmem0/dir/a","offset":0,"length":4096,"address":139637976727552,
      "pages_present":1,"private":false}],"open_files":[{"namespace":"namespace0.0",
      "file":"/pmem0/dir/a","fd":3}],"signal":"SIGBUS","code":"BUS_ADRERR"})");
  Json ended = holder;
  ended["became"] = "ended";
  ended["ended_by"] = "SIGBUS";
  const Json report = Json{{"namespace", "namespace0.0"},
                           {"state", "disabled"},
                           {"dry_run", false},
                           {"surprise", false},
                           {"hits_mappings", true},
                           {"holders", {holder, ended}},
                           {"killed", {7}},
                           {"lent_ranges", 3},
                           {"lent_bytes", 12288},
                           {"files_flushed", 2},
                           {"files_revoked", 3},
                           {"pages_left", 0},
                           {"lost_writebacks", 0},
                           {"requests_left", 0},
                           {"pins_taken", 0},
                           {"buffers_taken", 0},
                           {"pages_migrated", 0},
                           {"abandoned", 0},
                           {"steps", {{{"name", "kill"}, {"us", 3}}}}};
  const Json event = Json::parse(R"({"seq":1,"time":"2026-01-01T00:00:00.000000Z",
      "kind":"pre-remove","namespace":"namespace0.0","offset":0,"length":4096,"file":"/pmem0/dir/a",
      "file_offset":0,"file_length":4096})");
  const Json settings = Json::parse(R"({"namespace":"namespace0.0","settings":[{"name":"kill",
      "value":"late","values":["late","early"],"help":"when"}]})");
  const Json scrubs = Json::parse(R"({"scrubs":[{"region":"region0","offset":0,"length":1024,
      "done":512,"found":0,"failed":0,"running":true}]})");
  const std::map<std::string, Json> replies = {
      {"List", {{"regions", {region}}, {"namespaces", {fsdax, devdax}}}},
      {"Status", Json::parse(R"({"version":"0.1.0","pid":1,"pool":"/p","mount":"/m","uptime_s":1,
          "privileged":true,"tuned":true,"dirty_background_bytes":4096,"regions":1,"namespaces":2,
          "enabled":1,"requests":9,"requests_by_kind":[{"kind":"READ","count":9}],
          "open_handles":2,"lent_ranges":3,"lent_bytes":4096,"pins":1,"abandoned":0,"subscribers":0,"events":4})")},
      {"CreateRegion", {{"region", region}}},
      {"CreateNamespace", {{"namespace", devdax}}},
      {"CreateVolume", {{"volume", volume}}},
      {"DestroyVolume", Json::object()},
      {"DestroyNamespace", Json::object()},
      {"DestroyRegion", Json::object()},
      {"EnableNamespace", Json::object()},
      {"EnableRegion", Json::object()},
      {"DisableNamespace", {{"report", report}}},
      {"DisableRegion", {{"reports", {report}}}},
      {"Mappers", {{"holders", {holder}}}},
      {"Monitor", {{"event", event}}},
      {"Refs", Json::parse(R"({"namespace":"namespace0.0","state":"enabled","held":2,
          "unaccounted":0,"abandoned":0,"leases":1,"handles":1,"mappings":0,"takeovers":0,"pins":1,"requests":0,"buffers":0,
          "pages":0,
          "references":[],"omitted":0})")},
      {"Explain", Json::parse(R"({"pfn":1,"address":4096,"section":0,"subsection":0,
          "pfn_valid":true,"online":false,"pagemap":{"name":"namespace0.0","type":"fsdax",
          "state":"live","references":0},"pgmap_pfn_valid":true,"region":"region0",
          "namespace":"namespace0.0","state":"enabled","area":"data","offset":0,"steps":[
          {"function":"pfn_valid","asked":"b","yes":true,"found":"c"}],"verdict":"d"})")},
      {"BadBlocks", Json::parse(R"({"object":"region0","badblock_count":2,
          "badblocks":[{"sector":12,"count":2}],"omitted":0})")},
      {"Settings", settings},
      {"Configure", settings},
      {"Prefault", Json::parse(R"({"offset":0,"length":4096,"left":0,"failed_bytes":0})")},
      {"StartScrub", scrubs},
      {"WaitScrub", scrubs},
      {"InjectError", Json::parse(R"({"reports":[{"namespace":"namespace0.0",
          "ranges":[{"offset":0,"length":512}],"seq":1,"bad_bytes":512,"pages_left":0,"shut_down":false,"files":[
          {"namespace":"namespace0.0","file":"/pmem0/a","offset":0,"length":4096,"metadata":false,
           "handled":false,"told":1}],"holders":[]}]})")},
      {"UninjectError", Json::object()},
      {"InjectedErrors", Json::parse(R"({"badblocks":[{"block":12,"count":2}],"omitted":0})")},
      {"ClearErrors", Json::parse(R"({"namespace":"namespace0.0","cleared_bytes":512})")},
      {"FailAt", Json::object()},
      {"ClearFaults", Json::object()},
      {"ListFaults",
       {{"faults", {{{"step", "a.b"}, {"what", "c"}, {"left", 1}, {"hits", 0}, {"delay_ms", 0}}}}}},
      {"Check", {{"findings", {{{"object", "pool.db"}, {"problem", "corrupt"}}}}}},
  };
  EXPECT_EQ(replies.size(), idl().methods.size());
  for (const auto& [method, reply] : replies) EXPECT_EQ(idl().check_reply(method, reply), "");
  EXPECT_EQ(idl().check_reply("Monitor", {{"missed", 3}}), "");
  Json ram = replies.at("Explain");
  for (const char* key :
       {"pagemap", "pgmap_pfn_valid", "region", "namespace", "state", "area", "offset"}) {
    ram.erase(key);
  }
  EXPECT_EQ(idl().check_reply("Explain", ram), "");

  const Error busy{{EBUSY, std::generic_category()}, "namespace0.0: in use", "use --force"};
  EXPECT_EQ(
      idl().check(idl().errors.at("Failed"), failed(busy, {{"holders", {holder}}}).parameters), "");
  const Json pin = Json::parse(R"({"kind":"pin","pid":1,"comm":"app","inode":7,"file":"/pmem0/a",
      "offset":0,"length":4096,"since":"2026-01-01T00:00:00.000000Z"})");
  EXPECT_EQ(
      idl().check(idl().errors.at("Failed"),
                  failed(busy, {{"holders", Json::array()}, {"in_the_way", {pin}}}).parameters),
      "");

  Json bad = report;
  bad["holders"][0]["mappings"][0]["offset"] = "0";
  EXPECT_EQ(idl().check_reply("DisableNamespace", {{"report", bad}}),
            ".report.holders[0].mappings[0].offset: not an int");
}

}  // namespace
}  // namespace pmemd
