#include "daemon/control/handlers.h"

#include <new>
#include <optional>

#include "core/base/memory.h"
#include "core/control/interface.h"
#include "core/control/rules.h"

namespace pmemd {
namespace {

std::string encode_result(HandlerResult result) {
  if (!result) return encode(failed(result.error().error, result.error().details));
  return encode(Reply{result->is_null() ? Json::object() : *std::move(result), false, {}});
}

}  // namespace

std::string no_memory_reply() { return encode(failed(fail_no_memory().error())); }

std::string run_handler(const Method& method, const Handler& handle, const Call& call,
                        const Peer& peer) {
  try {
    if (const auto rules = check_rules(method.name, call.parameters); !rules) {
      return encode(failed(rules.error()));
    }
    HandlerResult result = handle(call, peer);
    std::optional<MustAllocate> done;
    if (method.access == Access::kOwner) done.emplace();
    return encode_result(std::move(result));
  } catch (const std::bad_alloc&) {
    const MustAllocate answer;
    return no_memory_reply();
  }
}

}  // namespace pmemd
