#include "core/pagemap/explain.h"

#include <fmt/format.h>

#include "core/pagemap/pagemap_registry.h"
#include "daemon/verbs/json.h"
#include "daemon/verbs/verbs.h"

namespace pmemd {
namespace {

// EINVAL: beyond the address space.
Result<Pfn> wanted_pfn(const Call& call) {
  const auto number = call.number("pfn");
  const auto address = call.number("address");
  const Pfn pfn = number ? Pfn{*number} : Pfn::of(*address);
  if (pfn.exists()) return pfn;
  const std::string end = fmt::format("the last pfn is {:#x}, the last address {:#x}", kPfnEnd - 1,
                                      kPhysicalAddressEnd - 1);
  return fail(
      EINVAL,
      fmt::format("{} {:#x}: beyond the emulated address space", number ? "pfn" : "address",
                  number ? *number : *address),
      number && *number < kPhysicalAddressEnd ? end + "; for an address, use --address" : end);
}

Json to_json(const Explanation::Pagemap& pagemap) {
  return Json{{"name", pagemap.name},
              {"type", to_string(pagemap.type)},
              {"state", pagemap.is_dying ? "dying" : "live"},
              {"references", pagemap.references}};
}

// Adds the region and namespace that the address is in, enabled or not, and where in the namespace.
void add_place(Json& reply, const MachineView& machine, uint64_t address) {
  for (const RegionRecord& region : machine.pool.regions()) {
    if (address < region.base_address) continue;
    const uint64_t in_region = address - region.base_address;
    if (in_region >= region.size_bytes) continue;
    reply["region"] = region.name();
    for (const ConstDevicePtr& device : machine.devices.of_region(region.id)) {
      const RegionRange range = device->record().of_namespace().range;
      if (!range.contains(in_region)) continue;
      reply["namespace"] = device->record().name();
      reply["state"] = state_of(*device);
      const uint64_t offset = in_region - range.begin;
      const bool is_data = offset >= kNamespaceMetadataSize;
      reply["area"] = is_data ? "data" : "metadata";
      if (is_data) reply["offset"] = offset - kNamespaceMetadataSize;
    }
  }
}

}  // namespace

HandlerResult explain_verb(const MachineView& machine, const Call& call) {
  PMEMD_ASSIGN(const Pfn pfn, wanted_pfn(call));
  const Explanation told = machine.devices.registry().explain(pfn);
  Json reply = {{"pfn", pfn.value},
                {"address", pfn.address()},
                {"section", told.section},
                {"subsection", told.subsection},
                {"pfn_valid", told.pfn_valid},
                {"online", told.online}};
  if (told.pagemap) {
    reply["pagemap"] = to_json(*told.pagemap);
    reply["pgmap_pfn_valid"] = told.pagemap->pgmap_pfn_valid;
  }
  add_place(reply, machine, pfn.address());
  reply["steps"] = Json::array();
  for (const ExplainStep& step : told.steps) {
    reply["steps"].push_back({{"function", step.function},
                              {"asked", step.asked},
                              {"yes", step.yes},
                              {"found", step.found}});
  }
  reply["verdict"] = told.verdict;
  return reply;
}

}  // namespace pmemd
