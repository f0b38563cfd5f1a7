// The handlers of org.pmemd's methods, and how the control server calls them.
//
// Thread contract: any thread.
#pragma once

#include <expected>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "core/base/error.h"
#include "core/control/varlink.h"
#include "daemon/control/socket.h"

namespace pmemd {

struct Method;

// Why a handler refused a call. `details` (an object) goes beside the error's own parameters:
// {"holders": [...]}. Converts from a plain Error, so that PMEMD_TRY works in handlers.
struct Refusal {
  Refusal(Error why) : error(std::move(why)) {}  // NOLINT(google-explicit-constructor)
  Refusal(Error why, Json more) : error(std::move(why)), details(std::move(more)) {}

  Error error;
  Json details = Json::object();
};

// The reply's parameters: an object; null means an empty one.
using HandlerResult = std::expected<Json, Refusal>;
using Handler = std::function<HandlerResult(const Call&, const Peer&)>;
using Handlers = std::map<std::string, Handler>;  // by a method's name in org.pmemd: "List"

// Calls a handler. Returns its encoded reply, or ENOMEM if memory runs out. A method that changes
// something has done so by the time it replies, so its reply is encoded from the reserve if need
// be.
std::string run_handler(const Method& method, const Handler& handle, const Call& call,
                        const Peer& peer);

// The encoded reply for ENOMEM.
std::string no_memory_reply();

}  // namespace pmemd
