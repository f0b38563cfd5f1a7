// The verb prefault: reads memory into the page cache.
#pragma once

#include "cli/verbs/verb.h"

namespace pmemd::cli {

void add_prefault_verb(const Verbs& verbs);

}  // namespace pmemd::cli
