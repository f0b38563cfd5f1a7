// Named points at which a step can be made to fail or to stall, to see what it leaves behind.
//
// A point is a static object beside the step: PMEMD_TRY(fault_enable_map.hit()). An unarmed point
// costs a load and a branch. All points of a program are listed, so that a test can go through
// every one.
//
// Thread contract: any thread. A stall ends at its deadline, or when the points are disarmed.
// Models: lib/fault-inject.c should_fail() @v6.12; differs: by name, and it may stall instead.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/base/error.h"

namespace pmemd {

class FaultPoint {
 public:
  // `name`: "disable.flush", the operation and its step. Both strings must never be freed. Only at
  // namespace scope: points are never destroyed before the program ends.
  FaultPoint(const char* name, const char* what);
  FaultPoint(const FaultPoint&) = delete;
  FaultPoint& operator=(const FaultPoint&) = delete;

  // EIO (or the plan's errno), if it is armed to fail; the message names the step.
  Result<void> hit() {
    return armed_.load(std::memory_order_acquire) ? hit_armed() : Result<void>();
  }

  struct Plan {
    uint64_t count = 1;                 // number of hits; then it is disarmed
    std::chrono::milliseconds delay{};  // 0: fails; else stalls for this time, and goes on
    int err = EIO;
  };
  static constexpr std::chrono::minutes kMaxDelay{10};

  // ENOENT: no such point. EINVAL: a count of 0, or a delay above kMaxDelay.
  static Result<void> arm(std::string_view name, const Plan& plan);
  // Disarms all points; stalled threads go on.
  static void disarm_all();

  struct Info {
    std::string_view name;
    std::string_view what;
    uint64_t left = 0;  // hits for which it is armed
    uint64_t hits = 0;  // while it was armed
    std::chrono::milliseconds delay{};
  };
  static std::vector<Info> list();  // by name

 private:
  Result<void> hit_armed();

  const char* const name_;
  const char* const what_;
  std::atomic<bool> armed_ = false;
  // Guarded by the lock of all points (fault.cc).
  Plan plan_ = {};
  uint64_t left_ = 0;
  uint64_t hits_ = 0;
};

}  // namespace pmemd
