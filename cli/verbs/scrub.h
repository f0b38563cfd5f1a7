// pmemctl start-scrub and wait-scrub: looks for errors that nobody knows of yet.
//
// Thread contract: one thread.
#pragma once

#include "cli/verbs/verb.h"

namespace pmemd::cli {

void add_scrub_verbs(const Verbs& verbs);

}  // namespace pmemd::cli
