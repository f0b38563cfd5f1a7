// The verbs StartScrub and WaitScrub.
//
// Thread contract: as daemon/verbs.h; wait_scrub() doesn't block.
#pragma once

#include "daemon/verbs.h"

namespace pmemd {

HandlerResult start_scrub_verb(Machine& machine, const Call& call);
// A Watch of the control server.
std::expected<Progress, Refusal> wait_scrub(Machine& machine, const Call& call);

}  // namespace pmemd
