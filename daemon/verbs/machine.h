// What the verbs work on.
//
// Thread contract: the handlers run on the control server's threads, several at a time; what they
// use has locking of its own, and a change of a device wants a DeviceTable::Operation.
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

// What the handlers work on; outlives them.
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

// What a verb that only looks gets of it: nothing there can be changed. Who may only look may call
// it, while an operation is under way as at any other time.
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
  // As find_file() (daemon/verbs/media_target.h): its device and inode. A lookup is a request,
  // which is counted: so it is asked for.
  std::function<Result<std::pair<ConstDevicePtr, uint64_t>>(const std::string& file)> find_file;
};

}  // namespace pmemd
