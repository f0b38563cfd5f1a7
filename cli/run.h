// pmemctl as a function.
#pragma once

#include "cli/output/terminal.h"

namespace pmemd::cli {

// Parses the command line, does what it says and returns the exit code.
int run(int argc, const char* const* argv, Terminal terminal);

}  // namespace pmemd::cli
