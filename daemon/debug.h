// The verbs that make steps fail: FailAt, ClearFaults, ListFaults (core/base/fault.h).
//
// Thread contract: as daemon/verbs.h.
#pragma once

#include "daemon/verbs.h"

namespace pmemd {

HandlerResult fail_at(Machine& machine, const Call& call);
HandlerResult clear_faults(Machine& machine, const Call& call);
HandlerResult list_faults(const MachineView& machine, const Call& call);

}  // namespace pmemd
