// The verb explain: shows what the emulated physical map says of a pfn, and why.
#pragma once

#include "cli/verbs/verb.h"

namespace pmemd::cli {

void add_explain_verb(const Verbs& verbs);

}  // namespace pmemd::cli
