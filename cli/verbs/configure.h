// pmemctl configure: how a namespace behaves when its memory fails.
//
// Thread contract: one thread.
#pragma once

#include "cli/verbs/verb.h"

namespace pmemd::cli {

void add_configure_verb(const Verbs& verbs);

}  // namespace pmemd::cli
