// `pmemctl exec [--early|--late] -- PROGRAM ARGUMENT...`: runs a program with the shim
// (docs/client.md). It asks no daemon.
#pragma once

#include <string>
#include <vector>

#include "cli/verbs/verb.h"

namespace pmemd::cli {

// Exit codes that tell that the program wasn't run, as env(1) has them. Else the code is the
// program's, since we become it.
inline constexpr int kExecFailed = 125;
inline constexpr int kNotExecutable = 126;
inline constexpr int kNotFound = 127;

// The arguments up to the first "--" of an exec, for the parser; those behind it are the program's,
// whatever they look like.
struct SplitArguments {
  std::vector<const char*> ours;
  std::vector<std::string> program;
};
SplitArguments split_at_program(int argc, const char* const* argv);

// LD_PRELOAD with the shim first and what `before` (may be null) has behind it.
std::string preload_with(const std::string& shim, const char* before);

// `program`: what split_at_program() found; outlives the parsing and the action.
void add_exec_verb(const Verbs& verbs, const std::vector<std::string>& program);

}  // namespace pmemd::cli
