#include "daemon/verbs/verbs.h"

#include <type_traits>

namespace pmemd {

Handlers make_handlers(Machine& machine) {
  Handlers handlers;
  const auto look = [&](const char* name, auto verb) {
    handlers[name] = [&machine, verb](const Call& call, const Peer&) {
      const MachineView view(machine);
      if constexpr (std::is_invocable_v<decltype(verb), const MachineView&, const Call&>) {
        return verb(view, call);
      } else {
        return verb(view);
      }
    };
  };
  const auto add = [&](const char* name, auto verb) {
    handlers[name] = [&machine, verb](const Call& call, const Peer&) {
      return verb(machine, call);
    };
  };
  look("List", list_verb);
  look("Status", status_verb);
  look("Mappers", mappers_verb);
  look("Refs", refs_verb);
  look("Explain", explain_verb);
  look("BadBlocks", bad_blocks_verb);
  look("Settings", settings_verb);
  look("InjectedErrors", injected_errors_verb);
  look("ListFaults", list_faults_verb);
  add("CreateRegion", create_region_verb);
  add("DestroyRegion", destroy_region_verb);
  add("CreateNamespace", create_namespace_verb);
  add("DestroyNamespace", destroy_namespace_verb);
  add("CreateVolume", create_volume_verb);
  add("DestroyVolume", destroy_volume_verb);
  add("EnableNamespace", enable_namespace_verb);
  add("EnableRegion", enable_region_verb);
  add("DisableNamespace", disable_namespace_verb);
  add("DisableRegion", disable_region_verb);
  add("Prefault", prefault_verb);
  add("Configure", configure_verb);
  add("StartScrub", start_scrub_verb);
  add("InjectError", inject_error_verb);
  add("UninjectError", uninject_error_verb);
  add("ClearErrors", clear_errors_verb);
  add("Check", check_verb);
  add("FailAt", fail_at_verb);
  add("ClearFaults", clear_faults_verb);
  return handlers;
}

}  // namespace pmemd
