// The attributes of devdax files. As a device node's in devtmpfs, mode and owner can be changed and
// last until the daemon ends; size and everything else are the namespace's.
//
// Thread contract: any thread.
#pragma once

#include <cstdint>
#include <map>

#include "core/base/mutex.h"
#include "core/device/device.h"
#include "core/filesystem/filesystem.h"

namespace pmemd {

class DevdaxFiles {
 public:
  Attr getattr(const Device& device) PMEMD_EXCLUDES(mutex_);
  // EINVAL: another size than it has.
  Result<Attr> setattr(const Device& device, const SetAttr& change) PMEMD_EXCLUDES(mutex_);

 private:
  Attr& attr_of(const Device& device) PMEMD_REQUIRES(mutex_);

  Mutex mutex_;
  std::map<uint64_t, Attr> attrs_ PMEMD_GUARDED_BY(mutex_);  // by serial
};

}  // namespace pmemd
