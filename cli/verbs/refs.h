// pmemctl refs: shows who uses a namespace, and how.
#pragma once

#include "cli/verbs/verb.h"

namespace pmemd::cli {

void add_refs_verb(const Verbs& verbs);

}  // namespace pmemd::cli
