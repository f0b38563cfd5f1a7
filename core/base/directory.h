// What is in a directory. Not by std::filesystem::directory_iterator: libstdc++'s allocates where
// it may not throw, so that a lack of memory ends the process (12, 13).
//
// Thread contract: any thread.
#pragma once

#include <string>
#include <vector>

#include "core/base/error.h"

namespace pmemd {

// Without "." and "..", in no order. Errors as opendir(3), readdir(3).
Result<std::vector<std::string>> names_in(const std::string& directory);

}  // namespace pmemd
