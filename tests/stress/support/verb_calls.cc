#include "tests/stress/support/verb_calls.h"

#include <fmt/format.h>

#include <utility>

namespace pmemd {
namespace {

// What make_kept_objects() of the test makes, and what may come beside.
constexpr uint64_t kNamespaces = 12;
constexpr uint64_t kKeptNamespaces = 3;  // namespace0.0, and two that are the legs of volume0
constexpr uint64_t kVolumes = 3;
constexpr uint64_t kMiB = 1 << 20;

}  // namespace

struct VerbCalls::Verb {
  std::string_view method;
  unsigned weight;
  Json (*make)(VerbCalls&);
  bool streams = false;
};

const std::vector<VerbCalls::Verb>& VerbCalls::verbs() {
  const auto nothing = [](VerbCalls&) { return Json(Json::object()); };
  const auto of_any = [](VerbCalls& c) { return Json{{"namespace", c.name_of_any()}}; };
  static const std::vector<Verb> all = {
      {"List", 2, [](VerbCalls& c) { return c.list(); }},
      {"Status", 1, nothing},
      {"Mappers", 6,
       [](VerbCalls& c) {
         return c.chance(30) ? Json(Json::object()) : Json{{"namespace", c.name_of_any()}};
       }},
      {"Refs", 3, [](VerbCalls& c) { return c.refs(); }},
      {"Explain", 2, [](VerbCalls& c) { return c.explain(); }},
      {"ListFaults", 1, nothing},
      {"Monitor", 2, [](VerbCalls& c) { return c.monitor(); }, true},
      {"Check", 3, nothing},
      {"CreateRegion", 1, [](VerbCalls& c) { return c.create_region(); }},
      {"DestroyRegion", 1, [](VerbCalls& c) { return c.destroy_region(); }},
      {"CreateNamespace", 6, [](VerbCalls& c) { return c.create_namespace(); }},
      {"DestroyNamespace", 5, [](VerbCalls& c) { return c.destroy_namespace(); }},
      {"CreateVolume", 3, [](VerbCalls& c) { return c.create_volume(); }},
      {"DestroyVolume", 2, [](VerbCalls& c) { return c.destroy_volume(); }},
      {"EnableNamespace", 12, of_any},
      {"EnableRegion", 2, [](VerbCalls& c) { return Json{{"region", c.region()}}; }},
      {"DisableNamespace", 12,
       [](VerbCalls& c) { return c.removal("namespace", c.name_of_any()); }},
      {"DisableRegion", 1, [](VerbCalls& c) { return c.removal("region", c.region()); }},
      {"Prefault", 2, [](VerbCalls& c) { return c.prefault(); }},
      {"BadBlocks", 2,
       [](VerbCalls& c) { return Json{{"object", c.chance(50) ? c.region() : c.name_of_any()}}; }},
      {"Settings", 1, of_any},
      {"Configure", 2, [](VerbCalls& c) { return c.configure(); }},
      {"StartScrub", 2, [](VerbCalls& c) { return c.scrub(); }},
      {"WaitScrub", 1,
       [](VerbCalls& c) {
         return c.chance(50) ? Json(Json::object()) : Json{{"object", c.region()}};
       },
       true},
      {"InjectError", 5, [](VerbCalls& c) { return c.inject(); }},
      {"UninjectError", 2, [](VerbCalls& c) { return c.place(c.name_of_others()); }},
      {"InjectedErrors", 2, of_any},
      {"ClearErrors", 4, [](VerbCalls& c) { return c.place(c.name_of_others()); }},
      {"FailAt", 3, [](VerbCalls& c) { return c.fail_at(); }},
      {"ClearFaults", 2, nothing},
  };
  return all;
}

std::vector<std::string_view> known_verbs() {
  std::vector<std::string_view> names;
  for (const VerbCalls::Verb& verb : VerbCalls::verbs()) names.push_back(verb.method);
  return names;
}

VerbCall VerbCalls::next() {
  uint64_t total = 0;
  for (const Verb& verb : verbs()) total += verb.weight;
  uint64_t at = below(total);
  const Verb* chosen = nullptr;
  for (const Verb& verb : verbs()) {
    chosen = &verb;
    if (at < verb.weight) break;
    at -= verb.weight;
  }
  VerbCall call{.method = std::string(chosen->method),
                .parameters = chosen->make(*this),
                .streams = chosen->streams};
  if (chance(4)) spoil(call);
  return call;
}

// A parameter that isn't known, or one of a wrong type.
void VerbCalls::spoil(VerbCall& call) {
  call.is_invalid = true;
  if (call.parameters.empty() || chance(30)) {
    call.parameters["nothing"] = below(100);
    return;
  }
  auto it = call.parameters.begin();
  std::advance(it, static_cast<int64_t>(below(call.parameters.size())));
  if (it->is_array()) {
    *it = Json::array({Json::object()});
  } else if (it->is_number() && chance(50)) {
    *it = -1;
  } else {
    *it = Json::array({1});
  }
}

std::string_view VerbCalls::one_of(std::initializer_list<std::string_view> texts) {
  return texts.begin()[below(texts.size())];
}

std::string VerbCalls::name_of_any() {
  if (chance(4)) return std::string(one_of({"", "namespace9.9", "region0", "namespace0.", "\x7f"}));
  if (chance(40)) return "namespace0.0";
  if (chance(25)) return fmt::format("volume{}", below(kVolumes));
  return fmt::format("namespace0.{}", below(kNamespaces));
}

std::string VerbCalls::name_of_others() {
  if (chance(10)) return fmt::format("volume{}", 1 + below(kVolumes - 1));
  if (chance(10)) return fmt::format("namespace1.{}", below(3));
  return fmt::format("namespace0.{}", kKeptNamespaces + below(kNamespaces - kKeptNamespaces));
}

std::string VerbCalls::region() { return fmt::format("region{}", chance(80) ? 0 : below(6)); }

void VerbCalls::add_range(Json& json) {
  if (chance(20)) return;
  const bool is_even = chance(80);
  json["offset"] = is_even ? below(2048) * 4096 : below(64 * kMiB);
  if (chance(90)) json["length"] = is_even ? (1 + below(8)) * 4096 : below(kMiB);
  if (chance(2)) json["length"] = INT64_MAX;
}

void VerbCalls::add_flags(Json& json, std::initializer_list<std::string_view> names,
                          unsigned percent) {
  for (const std::string_view name : names) {
    if (chance(percent)) json[std::string(name)] = true;
  }
}

Json VerbCalls::place(std::string name) {
  Json json = {{"namespace", std::move(name)}};
  add_range(json);
  return json;
}

Json VerbCalls::list() {
  Json json = Json::object();
  add_flags(json, {"regions", "namespaces", "volumes", "idle", "media_errors", "device_dax"}, 60);
  return json;
}

Json VerbCalls::create_region() {
  if (chance(50)) return {{"size", 32 * kMiB}, {"sparse", true}};
  return {{"size", below(2)}, {"base", chance(50) ? 4096 : 0}};
}

// region0, too: the legs of volume0 are in it, so that it must be refused.
Json VerbCalls::destroy_region() {
  Json json = {{"region", fmt::format("region{}", below(6))}};
  add_flags(json, {"force"}, 70);
  return json;
}

Json VerbCalls::create_namespace() {
  Json json = {{"size", (1 + below(4)) * 4 * kMiB}};
  if (chance(60)) json["region"] = chance(70) ? "region0" : region();
  json["mode"] = one_of({"fsdax", "fsdax", "fsdax", "devdax", "private", "p2p", "sector"});
  if (chance(10)) json["align"] = uint64_t{1} << below(40);
  return json;
}

// A kept one, now and then: which is a leg, so that it must be refused.
Json VerbCalls::destroy_namespace() {
  Json json = {
      {"namespace", chance(10) ? fmt::format("namespace0.{}", 1 + below(2)) : name_of_others()}};
  add_flags(json, {"force"}, 70);
  return json;
}

Json VerbCalls::create_volume() {
  Json legs = Json::array();
  for (uint64_t i = 0, count = below(4); i < count; ++i) legs.push_back(name_of_others());
  if (chance(10)) legs.push_back("volume0");
  Json json = {{"legs", std::move(legs)}};
  if (chance(60)) json["type"] = one_of({"linear", "striped", "striped", "mirrored"});
  if (chance(30)) json["chunk"] = uint64_t{1} << below(40);
  return json;
}

Json VerbCalls::destroy_volume() {
  Json json = {{"volume", fmt::format("volume{}", 1 + below(kVolumes - 1))}};
  add_flags(json, {"force"}, 70);
  return json;
}

Json VerbCalls::removal(const char* key, std::string name) {
  Json json = {{key, std::move(name)}, {"drain_timeout_ms", below(200)}};
  add_flags(json, {"force"}, 80);
  add_flags(json, {"surprise", "dry_run", "kill", "abandon"}, 12);
  if (chance(10)) json["wait_ms"] = below(50);
  if (chance(10)) json["grace_ms"] = below(50);
  return json;
}

Json VerbCalls::refs() {
  Json json = {{"namespace", name_of_any()}};
  if (chance(30))
    json["file"] =
        one_of({"/pmem0/kept0", "/pmem0/nothing", "namespace0.0:/kept0", "kept0", "/", ""});
  if (chance(50)) add_range(json);
  return json;
}

Json VerbCalls::explain() {
  Json json = Json::object();
  if (chance(60)) json["pfn"] = below(uint64_t{1} << (10 + below(40)));
  if (chance(50)) json["address"] = below(uint64_t{1} << (10 + below(52)));
  return json;
}

Json VerbCalls::prefault() {
  Json json = {{"namespace", name_of_any()}};
  if (chance(30)) json = {{"file", one_of({"/pmem0/kept0", "/pmem0/nothing", "/dax0.3", "/"})}};
  add_range(json);
  if (chance(50)) json["keep_free"] = chance(80) ? 0 : below(uint64_t{1} << 50);
  return json;
}

Json VerbCalls::configure() {
  Json json = {{"namespace", name_of_any()}};
  if (chance(70)) {
    json["settings"] =
        one_of({"kill=early", "kill=late rmap=no", "holder=no", "clear-unit=4096", "clearable=yes",
                "on-metadata=degraded", "on-metadata=shutdown", "refault=adrerr", "x=y", "kill="});
  }
  if (chance(30)) json["profile"] = one_of({"6.1", "6.5+", "ext4", "none"});
  return json;
}

Json VerbCalls::scrub() {
  Json json = Json::object();
  if (chance(80)) json["object"] = chance(50) ? region() : name_of_any();
  if (chance(50)) add_range(json);
  if (chance(50)) json["rate"] = below(uint64_t{1} << (10 + below(30)));
  return json;
}

Json VerbCalls::inject() {
  Json json = place(name_of_others());
  add_flags(json, {"latent", "saturate", "dry_run"}, 20);
  if (chance(20)) json["random"] = below(5);
  if (chance(20)) json["seed"] = below(1000);
  if (chance(10)) json["nth"] = below(20);
  if (chance(10)) json["on"] = one_of({"read", "write", "writeback", "any", "never"});
  if (chance(10)) json["after_ms"] = below(100);
  return json;
}

Json VerbCalls::fail_at() {
  Json json = {{"step", chance(5) ? "no.step" : shared_.steps[below(shared_.steps.size())]}};
  if (chance(50)) json["count"] = 1 + below(2);
  if (chance(50)) json["delay_ms"] = below(20);
  return json;
}

Json VerbCalls::monitor() {
  Json json = Json::object();
  if (chance(50)) json["since"] = below(200);
  if (chance(30)) json["namespaces"] = one_of({"namespace0.0", "namespace0.*,volume0", ""});
  if (chance(30)) json["kinds"] = one_of({"enabled", "removed,pre-remove", "poison", "nothing"});
  if (chance(30)) json["file"] = one_of({"/pmem0/*", "namespace0.0:/kept0", "[", "/"});
  if (chance(40)) json["follow"] = false;
  return json;
}

}  // namespace pmemd
