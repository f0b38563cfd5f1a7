// `pmemctl monitor`.
#pragma once

#include "cli/verbs/verb.h"

namespace pmemd::cli {

void add_monitor_verb(const Verbs& verbs);

}  // namespace pmemd::cli
