// What the control socket's methods on volumes do.
//
// Thread contract: as daemon/verbs.h.
#pragma once

#include "daemon/verbs.h"

namespace pmemd {

HandlerResult create_volume(Machine& machine, const Call& call);
HandlerResult destroy_volume(Machine& machine, const Call& call);
// `idle`: also those that are disabled.
Json volumes_to_json(const MachineView& machine, bool idle);

}  // namespace pmemd
