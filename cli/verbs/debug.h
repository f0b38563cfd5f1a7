// pmemctl debug: makes steps of the daemon fail or stall.
#pragma once

#include "cli/verbs/verb.h"

namespace pmemd::cli {

void add_debug_verbs(const Verbs& verbs);

}  // namespace pmemd::cli
