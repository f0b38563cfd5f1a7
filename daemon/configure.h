// The verbs Settings and Configure: how a namespace behaves when its memory fails.
//
// Thread contract: as daemon/verbs.h.
#pragma once

#include "daemon/verbs.h"

namespace pmemd {

HandlerResult settings_verb(const MachineView& machine, const Call& call);
HandlerResult configure_verb(Machine& machine, const Call& call);

}  // namespace pmemd
