#include "core/failure/dax_device.h"

#include "core/base/memory.h"

namespace pmemd {

Result<void> DaxDevice::set_holder(DaxHolder& holder) {
  DaxHolder* expected = nullptr;
  if (!holder_.compare_exchange_strong(expected, &holder) && expected != &holder) {
    return fail(EBUSY);
  }
  return {};
}

void DaxDevice::drop_holder() {
  holder_.store(nullptr, std::memory_order_release);
  wait_for_calls();
}

void DaxDevice::set_alive(bool alive) {
  alive_.store(alive, std::memory_order_release);
  if (!alive) wait_for_calls();
}

void DaxDevice::wait_for_calls() {
  const MustAllocate changed;  // the wait must follow the change
  // Holders wait for nobody, so this ends.
  while (!srcu_.synchronize(deadline_after(std::chrono::seconds(10)))) {
  }
}

Result<void> DaxDevice::notify_failure(const DataRanges& ranges, unsigned mf_flags,
                                       FailedParts& parts) const {
  const Srcu::ReadSection section = srcu_.read_lock();
  if (!alive_.load(std::memory_order_acquire)) return fail(ENXIO);
  DaxHolder* const holder = holder_.load(std::memory_order_acquire);
  if (holder == nullptr) return fail(EOPNOTSUPP);
  DataRanges ours;
  ours.reserve(ranges.size());
  for (const DataRange& range : ranges) {
    ours.push_back(range.intersect({0, size_bytes_}));
    if (ours.back().empty()) return fail(ENXIO);
  }
  return holder->notify_failure(ours, mf_flags, parts);
}

}  // namespace pmemd
