// Finds the sanitizer libraries that a program is linked against. Such a library must be loaded
// first, but a preloaded one comes before it.
#pragma once

#include <string>
#include <vector>

namespace pmemd::cli {

// The sanitizer libraries that the program at `path` names (DT_NEEDED), in its order; for a script,
// those of its interpreter. None: it isn't linked against any (clang links them in statically), or
// it can't be read: executing it will report why.
std::vector<std::string> sanitizers_of(const std::string& path);

// The path where execvp(3) finds `program`: itself, if it has a slash; else in `search`, a PATH.
// Empty: it isn't found.
std::string find_program(const std::string& name, const char* search);

}  // namespace pmemd::cli
