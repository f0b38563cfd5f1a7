// Wildcards in names of files, as in a shell:
//
//   *         any bytes, or none
//   ?         one byte
//   [a-c]     one of these bytes
//   [!a-c]    one byte that is none of these
//   \x        the byte x itself
//
// Paths match name by name: no wildcard matches a '/'. A '[' without its ']' matches itself.
//
// fnmatch(3) can take time that is exponential in the pattern, and clients choose the patterns:
// here the time is at most pattern × name.
//
// Thread contract: pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pmemd {

bool glob_matches_name(std::string_view pattern, std::string_view name);

// Matches the whole path, or a directory above it: "/a/b*" matches "/a/bc" and "/a/bc/d". Doubled
// slashes and slashes at either end mean nothing.
bool glob_matches_path(std::string_view pattern, std::string_view path);

bool has_wildcards(std::string_view pattern);
std::string without_escapes(std::string_view pattern);  // of a pattern without wildcards

// The names between the slashes.
std::vector<std::string_view> path_names(std::string_view path);

}  // namespace pmemd
