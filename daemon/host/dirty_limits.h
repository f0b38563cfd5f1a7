// How much memory the whole host may have dirty before the kernel writes it back:
// vm.dirty_background_ratio and vm.dirty_ratio.
//
// The mount's own limits (daemon/host/tuning.h) can't exceed these. Above the background limit, by
// default a tenth of available memory, the kernel writes back what mappings store, and each page
// that was written back faults again at the next store. No limit of a single mount prevents that
// (mm/page-writeback.c wb_over_bg_thresh() @v6.12 checks the host's first), so the limit is raised
// for all, and only when the daemon was told to: --raise-dirty-limits.
//
// Thread contract: one thread. host_dirty_background_bytes() from any.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/error.h"

namespace pmemd {

// RAII: raised from raise() to the destructor. After a SIGKILL the limits stay raised.
class RaisedDirtyLimits {
 public:
  static constexpr unsigned kBackgroundRatio = 40, kRatio = 60;  // per cent of available memory

  // A limit that is already higher stays. EACCES, EPERM, EROFS: we may not change them. EBUSY:
  // somebody has set limits in bytes; they stay. EIO: the files hold no numbers.
  static Result<std::unique_ptr<RaisedDirtyLimits>> raise(
      const std::string& directory = "/proc/sys/vm");
  // Restores what was raised, unless somebody has changed it meanwhile.
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

// How much may be dirty on the host before the kernel writes it back; 0: it doesn't tell.
uint64_t host_dirty_background_bytes();

}  // namespace pmemd
