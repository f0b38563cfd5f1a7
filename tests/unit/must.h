// For results that a test takes for granted.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <source_location>
#include <type_traits>
#include <utility>

#include "core/base/error.h"

namespace pmemd {

// The value. An error ends the program, in whatever thread or child process, and names the line
// that asked.
template <class T>
T must(Result<T> result, std::source_location line = std::source_location::current()) {
  if (!result) {
    ADD_FAILURE_AT(line.file_name(), static_cast<int>(line.line()))
        << "unexpected: " << result.error().describe();
    std::abort();
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace pmemd
