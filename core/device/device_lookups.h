// The lookups of a device's inodes that the kernel hasn't forgotten yet. They outlive a removal.
//
// Thread contract: any thread.
#pragma once

#include <cstdint>

#include "core/base/mutex.h"
#include "core/filesystem/filesystem.h"

namespace pmemd {

class Device;

class DeviceLookups {
 public:
  explicit DeviceLookups(Device& device) : device_(device) {}

  // Counts a lookup that a reply tells the kernel of. Call before the reply leaves.
  void count(uint64_t ino) PMEMD_EXCLUDES(mutex_);
  // The kernel forgets `count` lookups. The last one ends the inode's leases, and deletes an inode
  // without links.
  void forget(uint64_t ino, uint64_t count) PMEMD_EXCLUDES(mutex_);

  LookupCounts& counts() { return counts_; }

 private:
  Device& device_;
  LookupCounts counts_;  // own locking

  // Makes "the last lookup is gone" and "its leases are given back" one step: a new lookup, and its
  // leases, come before or after.
  Mutex mutex_;
};

}  // namespace pmemd
