// How much the whole host may have dirty before the kernel writes it back:
// vm.dirty_background_ratio and vm.dirty_ratio.
//
// The mount's own limits (daemon/host/tuning.h) can't go beyond these. From the background limit
// on, a tenth of available memory unless it was changed, the kernel writes back what mappings
// store, and each page that was written back faults again at the next store. There is no limit of a
// mount that keeps it from that (mm/page-writeback.c wb_over_bg_thresh() @v6.12 asks for the host's
// first), so it is raised for all, and only when the daemon was told to: --raise-dirty-limits.
//
// Thread contract: one thread. host_dirty_background_bytes() from any.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/error.h"

namespace pmemd {

// RAII: raised from raise() to the destruction. It doesn't survive a SIGKILL: the limits stay then.
class RaisedDirtyLimits {
 public:
  static constexpr unsigned kBackgroundRatio = 40, kRatio = 60;  // per cent of available memory

  // What is higher already stays as it is. EACCES, EPERM, EROFS: not ours to do. EBUSY: somebody
  // has set limits in bytes; they stay. EIO: no numbers there.
  static Result<std::unique_ptr<RaisedDirtyLimits>> raise(
      const std::string& directory = "/proc/sys/vm");
  // Gives back what was raised, unless somebody has changed it meanwhile.
  ~RaisedDirtyLimits();
  RaisedDirtyLimits(const RaisedDirtyLimits&) = delete;
  RaisedDirtyLimits& operator=(const RaisedDirtyLimits&) = delete;

 private:
  struct Change {
    std::string path;
    uint64_t before = 0, after = 0;
  };
  RaisedDirtyLimits() = default;
  Result<void> raise_one(const std::string& path, uint64_t wanted);

  std::vector<Change> changes_;
};

// So much may be dirty on the host until the kernel writes it back; 0: it doesn't tell.
uint64_t host_dirty_background_bytes();

}  // namespace pmemd
