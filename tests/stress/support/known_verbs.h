// Which methods of org.pmemd tests/stress/support/verb_calls.cc calls.
#pragma once

#include <string_view>
#include <vector>

namespace pmemd {

std::vector<std::string_view> known_verbs();

}  // namespace pmemd
