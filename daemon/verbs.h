// What the control socket's methods do.
//
// Thread contract: the handlers run on the control server's threads, several at a time; what they
// use has locking of its own, and a change of a device wants a DeviceTable::Operation.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "core/failure/event.h"
#include "core/removal/armed_errors.h"
#include "core/removal/poison.h"
#include "core/removal/removal.h"
#include "core/removal/scrub.h"
#include "daemon/control_server.h"
#include "daemon/device_table.h"
#include "daemon/fuse_context.h"

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
  // As find_file() (daemon/media_target.h): its device and inode. A lookup is a request, which is
  // counted: so it is asked for.
  std::function<Result<std::pair<ConstDevicePtr, uint64_t>>(const std::string& file)> find_file;
};

Handlers make_handlers(Machine& machine);

// Enables a device, shows it in the mount's root, and tells so.
Result<void> enable_device(Machine& machine, Device& device);

}  // namespace pmemd
