// Numbers of pages and addresses on the command line.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/base/error.h"

namespace pmemd::cli {

// "1024", or "0x400". EINVAL: anything else. ERANGE: above 2^63 - 1.
Result<uint64_t> parse_number(std::string_view text);

// The same, at least 1. EINVAL: 0.
Result<uint64_t> parse_count(std::string_view text);

// A number, optionally with a size's unit ("4G").
Result<uint64_t> parse_address(std::string_view text);

}  // namespace pmemd::cli
