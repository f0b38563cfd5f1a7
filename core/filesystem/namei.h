// Shared by the functions on names. Private to this folder.
#pragma once

#include <string_view>

#include "core/base/error.h"

namespace pmemd {

inline bool is_dot_name(std::string_view name) { return name == "." || name == ".."; }

// ENAMETOOLONG: more than 255 bytes. ENOENT: empty. EINVAL: not a possible name.
Result<void> check_name(std::string_view name);
// The same for a new name. EEXIST: `.` and `..`, which exist already.
Result<void> check_new_name(std::string_view name);

}  // namespace pmemd
