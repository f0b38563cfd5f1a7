// The verb that has memory read into the page cache.
#pragma once

#include "cli/verbs/verb.h"

namespace pmemd::cli {

void add_prefault_verb(const Verbs& verbs);

}  // namespace pmemd::cli
