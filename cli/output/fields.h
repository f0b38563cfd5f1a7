// Reads fields of the daemon's replies. A field that is missing (an older daemon) or has another
// type (a newer one) reads as empty: showing less is better than showing nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/control/varlink.h"

namespace pmemd::cli {

std::string text_of(const Json& object, std::string_view key);  // made printable()
uint64_t number_of(const Json& object, std::string_view key);
bool flag_of(const Json& object, std::string_view key);
const Json& list_of(const Json& object, std::string_view key);

}  // namespace pmemd::cli
