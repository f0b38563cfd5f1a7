// Times as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/error.h"

namespace pmemd::cli {

// Milliseconds from "500ms", "5s", "2m", "1h"; the unit is required. EINVAL: not such a time.
// ERANGE: more than a year.
Result<uint64_t> parse_duration_ms(std::string_view text);

// "12 us", "1.2 ms", "3.4 s".
std::string format_us(uint64_t us);

}  // namespace pmemd::cli
