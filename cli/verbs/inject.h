// inject-error and clear-errors: make memory bad, and good again.
//
// Thread contract: one thread.
#pragma once

#include "cli/verbs/verb.h"

namespace pmemd::cli {

void add_inject_verbs(const Verbs& verbs);

}  // namespace pmemd::cli
