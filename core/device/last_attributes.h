// Attributes of open files whose device is gone, for fstat.
//
// A file system in the kernel keeps the inodes of open files in memory, whatever happens to the
// device below it, so fstat works without one.
//
// Thread contract: any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/base/mutex.h"
#include "core/filesystem/filesystem.h"

namespace pmemd {

class LastAttributes {
 public:
  // Keeps the current attributes of these inodes. If memory runs out, some are left out.
  void keep(FileSystem& fs, const std::vector<uint64_t>& inodes) PMEMD_EXCLUDES(mutex_);
  void clear() PMEMD_EXCLUDES(mutex_);
  std::optional<Attr> find(uint64_t ino) const PMEMD_EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  std::unordered_map<uint64_t, Attr> attributes_ PMEMD_GUARDED_BY(mutex_);
};

}  // namespace pmemd
