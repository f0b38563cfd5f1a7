// What programs do to the files of a mount, where anything may fail: an errno is an answer, but
// what was said to be done is done.
//
// Thread contract: one thread.
#pragma once

#include <cstdint>
#include <string>

namespace pmemd {

// Makes, writes, maps, appends to, cuts, links, renames and removes "new" and "new-dir" in a
// directory. What is wrong, a line each. `zeros`: what was never written must read as zeros.
std::string use_directory(const std::string& directory, bool zeros);

// Writes over, appends to, and syncs a file that is there.
std::string change_file(const std::string& path, uint64_t seed);

// The same of each regular file below, which is also cut, and renamed; then all goes that can go.
void change_and_remove_all(const std::string& directory, uint64_t seed, int depth = 0);

}  // namespace pmemd
