// What the functions on names share. Private to this folder.
#pragma once

#include <string_view>

#include "core/base/error.h"

namespace pmemd {

inline bool is_dot_name(std::string_view name) { return name == "." || name == ".."; }

// ENAMETOOLONG: more than 255 bytes. ENOENT: empty. EINVAL: no name can be that.
Result<void> check_name(std::string_view name);
// The same for a name that is to be made. EEXIST: `.` and `..` are there already.
Result<void> check_new_name(std::string_view name);

}  // namespace pmemd
