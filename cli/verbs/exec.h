// `pmemctl exec [--early|--late] -- PROGRAM ARGUMENT...`: runs a program with the shim
// (docs/client.md). It doesn't contact a daemon.
#pragma once

#include <string>
#include <vector>

#include "cli/verbs/verb.h"

namespace pmemd::cli {

// Exit codes when the program wasn't run, as in env(1). Otherwise the exit code is the program's,
// which replaces us.
inline constexpr int kExecFailed = 125;
inline constexpr int kNotExecutable = 126;
inline constexpr int kNotFound = 127;

// Splits the arguments of an exec at its first "--": the parser gets those before it, the program
// those after it, whatever they look like.
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
