// The verb Explain: what the emulated physical map says of a pfn, and why.
//
// Thread contract: as daemon/verbs.h.
#pragma once

#include "daemon/verbs.h"

namespace pmemd {

HandlerResult explain(const MachineView& machine, const Call& call);

}  // namespace pmemd
