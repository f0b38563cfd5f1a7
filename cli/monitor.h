// `pmemctl monitor`.
#pragma once

#include "cli/verb.h"

namespace pmemd::cli {

void add_monitor_verb(const Verbs& verbs);

}  // namespace pmemd::cli
