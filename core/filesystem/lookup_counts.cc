#include "core/filesystem/filesystem.h"

namespace pmemd {

void LookupCounts::add(uint64_t ino, uint64_t count) {
  MutexLock lock(mutex_);
  counts_[ino] += count;
}

bool LookupCounts::drop(uint64_t ino, uint64_t count) {
  MutexLock lock(mutex_);
  const auto it = counts_.find(ino);
  if (it == counts_.end()) return false;
  if (it->second > count) {
    it->second -= count;
    return false;
  }
  counts_.erase(it);
  return true;
}

bool LookupCounts::is_known(uint64_t ino) const {
  MutexLock lock(mutex_);
  return counts_.contains(ino);
}

uint64_t LookupCounts::size() const {
  MutexLock lock(mutex_);
  return counts_.size();
}

std::vector<uint64_t> LookupCounts::known() const {
  MutexLock lock(mutex_);
  std::vector<uint64_t> inos;
  inos.reserve(counts_.size());
  for (const auto& [ino, count] : counts_) inos.push_back(ino);
  return inos;
}

}  // namespace pmemd
