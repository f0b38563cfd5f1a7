// An event in the control socket's JSON: type Event of core/control/org.pmemd.varlink.
//
// Thread contract: pure functions.
#pragma once

#include <chrono>
#include <string>

#include "core/control/varlink.h"
#include "core/events/event.h"

namespace pmemd {

Json to_json(const Event& event);

// RFC 3339, UTC, microseconds.
std::string to_text(std::chrono::system_clock::time_point time);

}  // namespace pmemd
