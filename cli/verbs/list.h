// pmemctl list and badblocks: what there is, and what of it is bad.
//
// Thread contract: one thread.
#pragma once

#include "cli/verbs/verb.h"

namespace pmemd::cli {

void add_list_verbs(const Verbs& verbs);

}  // namespace pmemd::cli
