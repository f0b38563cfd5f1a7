// The verb Prefault: has what a namespace or a file holds read into the page cache.
#pragma once

#include "daemon/verbs.h"

namespace pmemd {

// A piece of at most 64 MiB; who called asks for the next one, so that nothing goes on for a caller
// that has gone.
HandlerResult prefault_verb(Machine& machine, const Call& call);

}  // namespace pmemd
