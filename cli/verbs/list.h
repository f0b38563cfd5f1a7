// pmemctl list and badblocks: show what exists, and which of it is bad.
//
// Thread contract: one thread.
#pragma once

#include "cli/verbs/verb.h"

namespace pmemd::cli {

void add_list_verbs(const Verbs& verbs);

}  // namespace pmemd::cli
