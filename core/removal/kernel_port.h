// What a removal or a failure asks of the kernel.
//
// Thread contract: any thread that serves no requests.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/error.h"
#include "core/device/device.h"
#include "core/range/range.h"
#include "core/removal/holders.h"

namespace pmemd {

class KernelPort {
 public:
  virtual ~KernelPort() = default;
  // Writes a file's dirty pages back, in bulk; their WRITEs are answered meanwhile. ETIMEDOUT: the
  // kernel doesn't answer. Any other: this file can't be flushed, or a page could not be written
  // (DeviceHealth::lost_writebacks()); the inval launders the rest page by page.
  virtual Result<void> flush(uint64_t ino, FileRange range) = 0;
  // Unmaps the range from every process and drops its pages. ENOENT: the kernel doesn't know it.
  // ETIMEDOUT: as above. EBUSY: a page can't be dropped. EIO: one can't be laundered.
  virtual Result<void> inval(uint64_t ino, FileRange range) = 0;
  // Takes a device's name out of the mount's root, or shows it again.
  virtual void hide(const Device& device) = 0;
  virtual void show(const Device& device) = 0;
  // The processes that hold inodes of these devices.
  virtual std::vector<Holder> holders(const std::vector<const Device*>& devices) const = 0;
};

}  // namespace pmemd
