// Fields of what the daemon tells. What is missing (an older daemon) or of another type (a newer
// one) reads as empty: to show less is better than to show nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/control/varlink.h"

namespace pmemd::cli {

std::string text_of(const Json& object, std::string_view key);  // as it may be shown: printable()
uint64_t number_of(const Json& object, std::string_view key);
bool flag_of(const Json& object, std::string_view key);
const Json& list_of(const Json& object, std::string_view key);

}  // namespace pmemd::cli
