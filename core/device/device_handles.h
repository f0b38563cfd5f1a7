// The open handles of a device, and what processes ask for through them (client/pmemd_ioctl.h).
//
// What a process asked for ends with the handle or with the process, whichever ends first: its
// claims, their unread events, its buffers.
//
// Thread contract: any thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>

#include "core/base/error.h"
#include "core/base/user_budget.h"
#include "core/events/mapper_events.h"
#include "core/range/range.h"
#include "core/references/claim_table.h"

namespace pmemd {

class Device;

struct OpenHandle {
  uint64_t ino = 0;
  pid_t pid = 0;  // its opener; the descriptor may have been passed on since
  bool writable = false;
  bool noatime = false;  // O_NOATIME
  UserBudget::Charge charge = {};
};

class DeviceHandles {
 public:
  // Both must outlive it.
  DeviceHandles(Device& device, ClaimTable& claims)
      : device_(device), claims_(claims), events_(claims) {}

  // Refuses new opens; requests through open handles go on. Device::kill() does this too.
  void stop_opens();
  // Live only. A leg stays closed.
  void let_open_again();

  // The id goes to the kernel; 0 is none. gone_errno() of the content: not live.
  Result<uint64_t> add(OpenHandle handle);
  // Drops its claims; its buffers begin to return. Unknown ids are ignored.
  void remove(uint64_t id);
  // The process has ended: does the same with what it asked for.
  void remove_process(pid_t pid);
  // Ends all waits for handles and pins at once, for good.
  void interrupt_waits();

  // Each returns the claim's id. EBADF: no such handle. EINVAL: the range is empty, or not within
  // what can be pinned. EOPNOTSUPP (pin): private memory, which may move, or a p2p pool, whose
  // buffers are pins. gone_errno(): not live. EEXIST (takeover): part of the range is taken over
  // through another handle.
  Result<uint64_t> pin(uint64_t handle, pid_t pid, FileRange range, UserBudget::Charge charge = {});
  Result<uint64_t> register_mapping(uint64_t handle, pid_t pid, FileRange range, uint64_t address,
                                    UserBudget::Charge charge = {});
  Result<uint64_t> take_over(uint64_t handle, pid_t pid, FileRange range,
                             std::chrono::milliseconds timeout, UserBudget::Charge charge = {});
  // In any state. Drops its unread events, too. ENOENT: the handle has no such claim.
  Result<void> end_claim(uint64_t handle, ReferenceKind kind, uint64_t id);

  // Events for processes with registered mappings or takeovers, and their answers.
  MapperEvents& events() { return events_; }

 private:
  // The id, with the device's errno if the gate was closed.
  Result<uint64_t> added(Result<uint64_t> id) const;

  Device& device_;
  ClaimTable& claims_;
  MapperEvents events_;
};

}  // namespace pmemd
