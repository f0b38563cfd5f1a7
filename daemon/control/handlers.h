// What answers a method of org.pmemd, and how the control server calls it.
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

// Why a handler doesn't do what was asked. `details` (an object) goes beside the error's own
// parameters: {"holders": [...]}. Made from an Error alone, so that PMEMD_TRY works in handlers.
struct Refusal {
  Refusal(Error why) : error(std::move(why)) {}  // NOLINT(google-explicit-constructor)
  Refusal(Error why, Json more) : error(std::move(why)), details(std::move(more)) {}

  Error error;
  Json details = Json::object();
};

// The reply's parameters: an object; null is as good as an empty one.
using HandlerResult = std::expected<Json, Refusal>;
using Handler = std::function<HandlerResult(const Call&, const Peer&)>;
using Handlers = std::map<std::string, Handler>;  // by a method's name in org.pmemd: "List"

// Calls a handler. Its reply, encoded, or ENOMEM where memory runs out. What a method that changes
// something replies, it has done by then; so that is encoded by all means.
std::string run_handler(const Method& method, const Handler& handle, const Call& call,
                        const Peer& peer);

// ENOMEM, encoded.
std::string no_memory_reply();

}  // namespace pmemd
