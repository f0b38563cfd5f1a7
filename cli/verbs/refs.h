// pmemctl refs: who has what of a namespace.
#pragma once

#include "cli/verbs/verb.h"

namespace pmemd::cli {

void add_refs_verb(const Verbs& verbs);

}  // namespace pmemd::cli
