// The interface files, as the build embeds them (descriptions.cc.in).
#pragma once

#include <string_view>

namespace pmemd {

extern const std::string_view kPmemdDescription;    // org.pmemd.varlink
extern const std::string_view kServiceDescription;  // org.varlink.service.varlink

}  // namespace pmemd
