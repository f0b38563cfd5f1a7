// Lists a directory. Doesn't use std::filesystem::directory_iterator: libstdc++'s (12, 13)
// allocates where it may not throw, so that a lack of memory ends the process.
//
// Thread contract: any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/unique_fd.h"

namespace pmemd {

// The names in it, without "." and "..", in no particular order. Errors as opendir(3), readdir(3).
Result<std::vector<std::string>> names_in(const std::string& directory);
// Any one name, if there is one; `directory` may be O_PATH, `path` is for messages. Errors as
// openat(2), readdir(3).
Result<std::optional<std::string>> any_name_in(const UniqueFd& directory, const std::string& path);

}  // namespace pmemd
