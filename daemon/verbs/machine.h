// The objects that the verbs work on.
//
// Thread contract: the handlers run on the control server's threads, several at a time; the objects
// have locking of their own, and a change of a device needs a DeviceTable::Operation.
#pragma once

#include <ctime>
#include <functional>
#include <string>
#include <utility>

#include "core/device/device_table.h"
#include "core/events/event.h"
#include "core/poison/armed_errors.h"
#include "core/poison/poison.h"
#include "core/poison/scrub.h"
#include "core/removal/removal.h"
#include "daemon/control/server.h"
#include "daemon/fuse/context.h"

namespace pmemd {

class Prefaulter;

// Outlives the handlers.
struct Machine {
  Pool& pool;
  DeviceTable& devices;
  FuseContext& fuse;
  KernelPort& kernel;
  EventBus& events;
  const FailurePorts& failure;
  ArmedErrors& armed;
  Scrubber& scrubber;
  Prefaulter& prefaulter;
  std::string mount_point;
  bool is_tuned = false;
  bool debug_faults = false;  // --debug-faults
  std::function<ControlServer::Stats()> control_stats;
};

// A read-only view of the Machine, for verbs that only look. Callers without the right to change
// anything may call these verbs, even while an operation is in progress.
struct MachineView {
  explicit MachineView(Machine& machine);

  const Pool& pool;
  const DeviceTable& devices;
  const RequestCounts& requests;
  const timespec started;
  const KernelPort& kernel;
  const EventBus& events;
  const ArmedErrors& armed;
  const std::string& mount_point;
  const bool is_tuned;
  const std::function<ControlServer::Stats()>& control_stats;
  // As find_file() (daemon/verbs/media_target.h): the device and inode. A function, because a
  // lookup is a request, which is counted.
  std::function<Result<std::pair<ConstDevicePtr, uint64_t>>(const std::string& file)> find_file;
};

}  // namespace pmemd
