// What must hold for any bytes that a client may send.
#pragma once

#include <string_view>

namespace pmemd::test {

// Feeds the bytes to the codec as the server does, in pieces whose size the first byte chooses.
// Returns what doesn't hold, or an empty text.
std::string_view check_varlink_input(std::string_view bytes);

}  // namespace pmemd::test
