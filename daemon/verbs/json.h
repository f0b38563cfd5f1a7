// JSON for regions, namespaces, holders, reports and events, as core/control/org.pmemd.varlink
// defines it (ndctl's keys where ndctl has them).
#pragma once

#include <string>
#include <string_view>

#include "core/control/varlink.h"
#include "core/device/device.h"
#include "core/pool/pool.h"
#include "core/removal/removal.h"
#include "daemon/control/event_json.h"

namespace pmemd {

Json to_json(const RegionRecord& region, const Pool::Available& available);
Json to_json(const Device& device, const Pool& pool);  // a namespace
// A volume; `pool` tells whether it is a leg.
Json volume_to_json(const Device& device, const Pool& pool);
std::string_view state_of(const Device& device);  // "enabled", "dying" or "disabled"
// `hit`: a removal hits it; adds what its next access gets.
Json to_json(const Holder& holder, const std::string& name_of_namespace, bool hit);
Json to_json(const RemovalReport& report);
// `path`: from the mount's root; empty: not known.
Json to_json(const Reference& reference, const std::string& path);
// A failure of a removal: who and what is in the way.
Json in_the_way_to_json(const std::vector<RemovalReport>& reports);

}  // namespace pmemd
