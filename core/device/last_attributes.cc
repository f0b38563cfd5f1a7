#include "core/device/last_attributes.h"

#include "core/base/memory.h"

namespace pmemd {

void LastAttributes::keep(FileSystem& fs, const std::vector<uint64_t>& inodes) {
  for (const uint64_t ino : inodes) {
    const auto kept = or_no_memory([&]() -> Result<void> {
      PMEMD_TRY(check_memory());
      const auto attr = fs.getattr(ino);
      if (!attr) return {};  // its row can't be read: its fstat fails, too
      MutexLock lock(mutex_);
      attributes_.insert_or_assign(ino, *attr);
      return {};
    });
    if (!kept) return;
  }
}

void LastAttributes::clear() {
  MutexLock lock(mutex_);
  attributes_.clear();
}

std::optional<Attr> LastAttributes::find(uint64_t ino) const {
  MutexLock lock(mutex_);
  const auto found = attributes_.find(ino);
  if (found == attributes_.end()) return std::nullopt;
  return found->second;
}

}  // namespace pmemd
