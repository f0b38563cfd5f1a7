// Which sanitizer's library a program is linked against. Such a library wants to be the first one
// that is loaded; what is preloaded comes before it.
#pragma once

#include <string>
#include <vector>

namespace pmemd::cli {

// The libraries of sanitizers that the program at `path` names (DT_NEEDED), in its order; of a
// script those of its interpreter. None: it isn't linked against any (as with clang, whose programs
// have it inside), or it can't be read: who executes it says why.
std::vector<std::string> sanitizers_of(const std::string& path);

// Where execvp(3) finds a program: itself, if there is a slash in it; else in `search`, a PATH.
// Empty: nowhere.
std::string find_program(const std::string& name, const char* search);

}  // namespace pmemd::cli
