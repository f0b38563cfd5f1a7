// The verb Refs: who has what of a namespace.
//
// Thread contract: as daemon/verbs.h.
#pragma once

#include "daemon/verbs.h"

namespace pmemd {

HandlerResult refs(const MachineView& machine, const Call& call);

}  // namespace pmemd
