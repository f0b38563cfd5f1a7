// Each verb of the control socket, without memory.
#include "tests/unit/daemon/verbs/verbs_no_memory.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>

#include "core/base/units.h"
#include "tests/unit/daemon/verbs/verbs_machine.h"

namespace pmemd::test {
namespace {

class VerbsNoMemory : public WithoutMemory {
 public:
  void list();
  void status() { try_all({.verb = "Status"}); }
  void mappers();
  void refs();
  void explain();
  void bad_blocks();
  void settings() { try_all({.verb = "Settings", .parameters = {{"namespace", "volume0"}}}); }
  void injected_errors();
  void list_faults() { try_all({.verb = "ListFaults"}); }
  void create_region();
  void destroy_region();
  void create_namespace();
  void destroy_namespace();
  void create_volume();
  void destroy_volume();
  void enable_namespace();
  void enable_region();
  void disable_namespace();
  void disable_region();
  void prefault();
  void configure();
  void start_scrub();
  void inject_error();
  void uninject_error();
  void clear_errors();
  void check() { try_all({.verb = "Check"}); }
  void fail_at();
  void clear_faults();
};

void VerbsNoMemory::list() {
  make_errors();
  const Json all = {{"regions", true}, {"namespaces", true},   {"volumes", true},
                    {"idle", true},    {"media_errors", true}, {"device_dax", true}};
  try_all({.verb = "List", .parameters = all});
}

void VerbsNoMemory::mappers() {
  try_all({.verb = "Mappers"});
  try_all({.verb = "Mappers", .parameters = {{"namespace", "namespace0.0"}}});
}

void VerbsNoMemory::refs() {
  try_all({.verb = "Refs", .parameters = {{"namespace", "namespace0.0"}}});
  try_all({.verb = "Refs", .parameters = {{"file", "/pmem0/file"}}});
  try_all({.verb = "Refs", .parameters = {{"namespace", "namespace5.0"}}});
}

void VerbsNoMemory::explain() {
  const Json regions = done("List", {{"regions", true}}).at("regions");
  const uint64_t base = regions.at(0).at("base");
  try_all({.verb = "Explain", .parameters = {{"address", base + 3 * kMiB}}});
  try_all({.verb = "Explain", .parameters = {{"pfn", 1}}});
}

void VerbsNoMemory::bad_blocks() {
  make_errors();
  try_all({.verb = "BadBlocks", .parameters = {{"object", "namespace0.0"}}});
  try_all({.verb = "BadBlocks", .parameters = {{"object", "region0"}}});
}

void VerbsNoMemory::injected_errors() {
  make_errors();
  done("InjectError", {{"namespace", "namespace0.0"}, {"nth", 7}});
  try_all({.verb = "InjectedErrors", .parameters = {{"namespace", "namespace0.0"}}});
}

void VerbsNoMemory::create_region() {
  try_all({.verb = "CreateRegion",
           .parameters = {{"size", VerbsMachine::kRegionBytes}, {"sparse", true}},
           .undo = then("DestroyRegion", {{"region", "region6"}})});
}

void VerbsNoMemory::destroy_region() {
  const Json made = {{"size", VerbsMachine::kRegionBytes}, {"sparse", true}};
  const auto make_empty = then("CreateRegion", made);
  make_empty();
  try_all({.verb = "DestroyRegion", .parameters = {{"region", "region6"}}, .undo = make_empty});
  const auto make_full = [=, this] {
    make_empty();
    for (const char* mode : {"fsdax", "devdax"}) {
      done("CreateNamespace",
           {{"region", "region6"}, {"mode", mode}, {"size", VerbsMachine::kSmallBytes}});
    }
  };
  done("DestroyRegion", {{"region", "region6"}});
  make_full();
  try_all({.verb = "DestroyRegion",
           .parameters = {{"region", "region6"}, {"force", true}},
           .undo = make_full});
}

void VerbsNoMemory::create_namespace() {
  for (const NamespaceMode mode : kNamespaceModes) {
    try_all({.verb = "CreateNamespace",
             .parameters = {{"region", "region2"},
                            {"mode", std::string(to_string(mode))},
                            {"size", VerbsMachine::kSmallBytes}},
             .undo = then("DestroyNamespace", {{"namespace", "namespace2.0"}, {"force", true}})});
  }
}

void VerbsNoMemory::destroy_namespace() {
  const Json named = {{"namespace", "namespace2.0"}};
  const Json made = {{"region", "region2"}, {"size", VerbsMachine::kSmallBytes}};
  done("CreateNamespace", made);
  try_all({.verb = "DestroyNamespace",
           .parameters = {{"namespace", "namespace2.0"}, {"force", true}},
           .undo = then("CreateNamespace", made)});
  const auto make_disabled = [=, this] {
    done("CreateNamespace", made);
    done("DisableNamespace", named);
  };
  done("DisableNamespace", named);
  try_all({.verb = "DestroyNamespace", .parameters = named, .undo = make_disabled});
}

void VerbsNoMemory::create_volume() {
  const auto undo = then("DestroyVolume", {{"volume", "volume1"}, {"force", true}});
  const Json legs = Json::array({"namespace3.0", "namespace4.0"});
  try_all({.verb = "CreateVolume", .parameters = {{"legs", legs}}, .undo = undo});
  done("DisableNamespace", {{"namespace", "namespace3.0"}});
  try_all({.verb = "CreateVolume",
           .parameters = {{"legs", legs}, {"type", "striped"}, {"chunk", 4096}},
           .undo = [&] {
             undo();
             done("DisableNamespace", {{"namespace", "namespace3.0"}});
           }});
}

void VerbsNoMemory::destroy_volume() {
  const Json made = {{"legs", Json::array({"namespace5.0", "namespace5.1"})}};
  try_all({.verb = "DestroyVolume",
           .parameters = {{"volume", "volume0"}, {"force", true}},
           .undo = then("CreateVolume", made)});
  done("DisableNamespace", {{"namespace", "volume0"}});
  try_all({.verb = "DestroyVolume", .parameters = {{"volume", "volume0"}}, .undo = [&] {
             done("CreateVolume", made);
             done("DisableNamespace", {{"namespace", "volume0"}});
           }});
}

void VerbsNoMemory::enable_namespace() {
  for (const char* name :
       {"namespace0.0", "namespace1.0", "namespace1.1", "namespace1.2", "volume0"}) {
    const Json forced = {{"namespace", name}, {"force", true}};
    done("DisableNamespace", forced);
    try_all({.verb = "EnableNamespace",
             .parameters = {{"namespace", name}},
             .undo = then("DisableNamespace", forced)});
  }
  // Under its volume, which stays.
  done("EnableNamespace", {{"namespace", "volume0"}});
  const Json leg = {{"namespace", "namespace5.1"}, {"force", true}};
  done("DisableNamespace", leg);
  try_all({.verb = "EnableNamespace",
           .parameters = {{"namespace", "namespace5.1"}},
           .undo = then("DisableNamespace", leg)});
}

void VerbsNoMemory::enable_region() {
  const Json region = {{"region", "region1"}};
  done("DisableRegion", region);
  try_all({.verb = "EnableRegion",
           .parameters = region,
           .undo = then("DisableRegion", region),
           .is_of_several = true});
}

void VerbsNoMemory::disable_namespace() {
  for (const char* name : {"namespace0.0", "namespace1.0", "namespace1.1", "namespace1.2",
                           "volume0", "namespace5.1"}) {
    const Json forced = {{"namespace", name}, {"force", true}};
    const auto undo = then("EnableNamespace", {{"namespace", name}});
    try_all({.verb = "DisableNamespace", .parameters = forced, .undo = undo});
  }
  try_all({.verb = "DisableNamespace",
           .parameters = {{"namespace", "namespace0.0"}, {"dry_run", true}}});
  try_all({.verb = "DisableNamespace",
           .parameters = {{"namespace", "namespace0.0"}, {"surprise", true}, {"force", true}},
           .undo = then("EnableNamespace", {{"namespace", "namespace0.0"}})});
}

void VerbsNoMemory::disable_region() {
  try_all({.verb = "DisableRegion",
           .parameters = {{"region", "region1"}},
           .undo = then("EnableRegion", {{"region", "region1"}}),
           .is_of_several = true});
}

void VerbsNoMemory::prefault() {
  const Try file = {.verb = "Prefault", .parameters = {{"file", "/pmem0/file"}, {"keep_free", 0}}};
  const Try device = {.verb = "Prefault",
                      .parameters = {{"namespace", "namespace1.0"}, {"keep_free", 0}}};
  try_all(file);
  try_all({.verb = "Prefault", .parameters = {{"namespace", "namespace0.0"}, {"keep_free", 0}}});
  try_all(device);
  try_elsewhere(device);
}

void VerbsNoMemory::configure() {
  try_all({.verb = "Configure",
           .parameters = {{"namespace", "namespace0.0"}, {"settings", "kill=early rmap=no"}},
           .undo = then("Configure",
                        {{"namespace", "namespace0.0"}, {"settings", "kill=late rmap=yes"}})});
}

// A latent error is found by it. Before it, all of the region was scrubbed.
void VerbsNoMemory::start_scrub() {
  const Json latent = {{"file", "/pmem0/file"}, {"offset", 0}, {"length", 512}, {"latent", true}};
  const auto undo = [=, this] {
    make_good();
    done("StartScrub", {{"object", "region0"}});
    machine().wait_for_scrubs();
    done("InjectError", latent);
  };
  undo();
  const Try all = {.verb = "StartScrub",
                   .parameters = {{"object", "namespace0.0"}},
                   .undo = undo,
                   .wait = [this] { machine().wait_for_scrubs(); }};
  try_all(all);
  try_elsewhere(all);
}

void VerbsNoMemory::inject_error() {
  const Json file = {{"file", "/pmem0/file"}, {"offset", 0}, {"length", 3 * kPageSize}};
  const auto with = [&](const Json& more) {
    Json all = file;
    all.update(more);
    return all;
  };
  const auto undo = [this] { make_good(); };
  try_all({.verb = "InjectError", .parameters = file, .undo = undo});
  try_all({.verb = "InjectError", .parameters = with({{"latent", true}}), .undo = undo});
  try_all({.verb = "InjectError", .parameters = with({{"dry_run", true}})});
  try_all({.verb = "InjectError", .parameters = with({{"nth", 5}, {"on", "read"}}), .undo = undo});
  try_all({.verb = "InjectError",
           .parameters = {{"namespace", "volume0"}, {"random", 3}, {"seed", 7}},
           .undo =
               [this] {
                 done("UninjectError", {{"namespace", "volume0"}});
                 done("ClearErrors", {{"namespace", "volume0"}});
               },
           .is_of_several = true});
}

void VerbsNoMemory::uninject_error() {
  make_errors();
  done("InjectError", {{"namespace", "namespace0.0"}, {"nth", 7}});
  try_all({.verb = "UninjectError", .parameters = {{"namespace", "namespace0.0"}}, .undo = [this] {
             make_good();
             make_errors();
             done("InjectError", {{"namespace", "namespace0.0"}, {"nth", 7}});
           }});
}

void VerbsNoMemory::clear_errors() {
  const auto make = [this] {
    make_good();
    make_errors();
  };
  make();
  try_all({.verb = "ClearErrors", .parameters = {{"namespace", "namespace0.0"}}, .undo = make});
}

void VerbsNoMemory::fail_at() {
  try_all({.verb = "FailAt",
           .parameters = {{"step", "destroy.begin"}, {"count", 2}},
           .undo = then("ClearFaults")});
}

void VerbsNoMemory::clear_faults() {
  const auto arm = then("FailAt", {{"step", "destroy.begin"}, {"count", 2}});
  arm();
  try_all({.verb = "ClearFaults", .undo = arm});
}

using Verbs = std::map<std::string, void (VerbsNoMemory::*)()>;
const Verbs& verbs() {
  static const Verbs all = {
      {"List", &VerbsNoMemory::list},
      {"Status", &VerbsNoMemory::status},
      {"Mappers", &VerbsNoMemory::mappers},
      {"Refs", &VerbsNoMemory::refs},
      {"Explain", &VerbsNoMemory::explain},
      {"BadBlocks", &VerbsNoMemory::bad_blocks},
      {"Settings", &VerbsNoMemory::settings},
      {"InjectedErrors", &VerbsNoMemory::injected_errors},
      {"ListFaults", &VerbsNoMemory::list_faults},
      {"CreateRegion", &VerbsNoMemory::create_region},
      {"DestroyRegion", &VerbsNoMemory::destroy_region},
      {"CreateNamespace", &VerbsNoMemory::create_namespace},
      {"DestroyNamespace", &VerbsNoMemory::destroy_namespace},
      {"CreateVolume", &VerbsNoMemory::create_volume},
      {"DestroyVolume", &VerbsNoMemory::destroy_volume},
      {"EnableNamespace", &VerbsNoMemory::enable_namespace},
      {"EnableRegion", &VerbsNoMemory::enable_region},
      {"DisableNamespace", &VerbsNoMemory::disable_namespace},
      {"DisableRegion", &VerbsNoMemory::disable_region},
      {"Prefault", &VerbsNoMemory::prefault},
      {"Configure", &VerbsNoMemory::configure},
      {"StartScrub", &VerbsNoMemory::start_scrub},
      {"InjectError", &VerbsNoMemory::inject_error},
      {"UninjectError", &VerbsNoMemory::uninject_error},
      {"ClearErrors", &VerbsNoMemory::clear_errors},
      {"Check", &VerbsNoMemory::check},
      {"FailAt", &VerbsNoMemory::fail_at},
      {"ClearFaults", &VerbsNoMemory::clear_faults},
  };
  return all;
}

TEST_P(VerbsNoMemory, IsEnomemOrDone) { (this->*verbs().at(GetParam()))(); }

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& [name, act] : verbs()) all.push_back(name);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Each, VerbsNoMemory, testing::ValuesIn(names()),
                         [](const auto& of) { return of.param; });

// A new verb wants its row above.
TEST(Verbs, EachIsTriedWithoutMemory) {
  const VerbsMachine machine;
  for (const auto& [name, handler] : machine.handlers()) {
    EXPECT_TRUE(verbs().contains(name)) << name << " is in make_handlers(), and not in this test";
  }
  EXPECT_EQ(machine.handlers().size(), verbs().size());
}

}  // namespace
}  // namespace pmemd::test
