// pmemctl start-scrub and wait-scrub: look for media errors that are not known yet.
//
// Thread contract: one thread.
#pragma once

#include "cli/verbs/verb.h"

namespace pmemd::cli {

void add_scrub_verbs(const Verbs& verbs);

}  // namespace pmemd::cli
