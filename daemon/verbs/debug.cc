#include <algorithm>
#include <chrono>

#include "core/base/fault.h"
#include "daemon/verbs/verbs.h"

namespace pmemd {
namespace {

Result<void> check_allowed(const Machine& machine) {
  if (machine.debug_faults) return {};
  return fail(EPERM, "debug: the daemon makes no step fail",
              "start it with --debug-faults, on a pool that you can lose");
}

}  // namespace

HandlerResult fail_at_verb(Machine& machine, const Call& call) {
  PMEMD_TRY(check_allowed(machine));
  FaultPoint::Plan plan;
  plan.count = call.number("count").value_or(1);
  // Clamped against overflow; arm() refuses delays that are too long.
  constexpr uint64_t kDayMs = 24 * 3600 * 1000;
  plan.delay = std::chrono::milliseconds(std::min(call.number("delay_ms").value_or(0), kDayMs));
  PMEMD_TRY(FaultPoint::arm(*call.text("step"), plan));
  return Json();
}

HandlerResult clear_faults_verb(Machine& machine, const Call& /*call*/) {
  PMEMD_TRY(check_allowed(machine));
  FaultPoint::disarm_all();
  return Json();
}

HandlerResult list_faults_verb(const MachineView& /*machine*/, const Call& /*call*/) {
  Json faults = Json::array();
  for (const FaultPoint::Info& info : FaultPoint::list()) {
    faults.push_back({{"step", info.name},
                      {"what", info.what},
                      {"left", info.left},
                      {"hits", info.hits},
                      {"delay_ms", info.left == 0 ? 0 : info.delay.count()}});
  }
  return Json{{"faults", std::move(faults)}};
}

}  // namespace pmemd
