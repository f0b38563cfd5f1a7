#include "daemon/verbs/machine.h"

#include "daemon/verbs/media_target.h"

namespace pmemd {

MachineView::MachineView(Machine& machine)
    : pool(machine.pool),
      devices(machine.devices),
      requests(machine.fuse.requests),
      started(machine.fuse.started),
      kernel(machine.kernel),
      events(machine.events),
      armed(machine.armed),
      mount_point(machine.mount_point),
      is_tuned(machine.is_tuned),
      control_stats(machine.control_stats),
      find_file([&machine](const std::string& file) -> Result<std::pair<ConstDevicePtr, uint64_t>> {
        PMEMD_ASSIGN(const FileTarget found, pmemd::find_file(machine, file));
        return std::pair(ConstDevicePtr(found.device), found.ino);
      }) {}

}  // namespace pmemd
