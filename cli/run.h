// pmemctl as a function.
#pragma once

#include "cli/output/terminal.h"

namespace pmemd::cli {

// Parses the command line, runs it and returns the exit code.
int run(int argc, const char* const* argv, Terminal terminal);

}  // namespace pmemd::cli
