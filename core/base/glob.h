// Wildcards in names of files, as a shell has them.
//
//   *   any bytes, also none        ?   one byte        [a-c] [!a-c]   one of these, or none of
//   them
//   \x  the byte x itself
//
// Paths match name by name: no wildcard stands for a '/'. A '[' without its ']' is itself.
//
// fnmatch(3) can take time that is exponential in the pattern, and the patterns are those of
// clients: here it is at most pattern × name.
//
// Thread contract: pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pmemd {

bool glob_matches_name(std::string_view pattern, std::string_view name);

// The whole path, or a directory above it: "/a/b*" matches "/a/bc" and "/a/bc/d". Slashes that are
// doubled or at an end mean nothing.
bool glob_matches_path(std::string_view pattern, std::string_view path);

bool has_wildcards(std::string_view pattern);
std::string without_escapes(std::string_view pattern);  // of one without wildcards

// The names between the slashes.
std::vector<std::string_view> path_names(std::string_view path);

}  // namespace pmemd
