#include "core/device/device_lookups.h"

#include "core/device/device.h"

namespace pmemd {

void DeviceLookups::count(uint64_t ino) {
  MutexLock lock(mutex_);
  counts_.add(ino);
}

void DeviceLookups::forget(uint64_t ino, uint64_t count) {
  {
    MutexLock lock(mutex_);
    if (!counts_.drop(ino, count)) return;
    device_.leases().give_back(ino, kWholeFile);
  }
  device_.content().forget(ino);
}

}  // namespace pmemd
