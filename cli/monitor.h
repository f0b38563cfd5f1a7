// `pmemctl monitor`.
#pragma once

#include "cli/session.h"

namespace pmemd::cli {

// Prints a line an event (with --json an object a line) until interrupted or until nobody reads
// what we print: kDone. kFailed when the daemon ends.
int monitor(Session& session);

}  // namespace pmemd::cli
