#include "core/references/request_table.h"

#include <algorithm>
#include <chrono>
#include <ctime>

namespace pmemd {
namespace {

// A coarse clock: takes a few nanoseconds, may be some milliseconds off. Never 0.
int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

// Where a thread first looks for a free slot: its own, as long as there are few threads.
size_t first_slot() {
  static std::atomic<size_t> next = 0;
  thread_local const size_t mine = next.fetch_add(1, std::memory_order_relaxed);
  return mine % RequestTable::kSlots;
}

}  // namespace

RequestTable::Entry RequestTable::enter(const RequestOrigin& origin) {
  const size_t first = first_slot();
  const int64_t now = now_ns();
  for (size_t i = 0; i < kSlots; ++i) {
    Slot& slot = slots_.at((first + i) % kSlots);
    int64_t is_free = 0;
    if (!slot.since_ns.compare_exchange_strong(is_free, now, std::memory_order_acquire)) continue;
    slot.what.store(origin.what, std::memory_order_relaxed);
    slot.pid.store(origin.pid, std::memory_order_relaxed);
    slot.ino.store(origin.ino, std::memory_order_relaxed);
    slot.begin.store(origin.range.begin, std::memory_order_relaxed);
    slot.end.store(origin.range.end, std::memory_order_relaxed);
    return Entry(&slot);
  }
  return {};
}

std::vector<Reference> RequestTable::list() const {
  std::vector<Reference> found;
  for (const Slot& slot : slots_) {
    const int64_t since = slot.since_ns.load(std::memory_order_acquire);
    const char* what = slot.what.load(std::memory_order_relaxed);
    if (since == 0 || what == nullptr) continue;
    found.push_back({.kind = ReferenceKind::kRequest,
                     .pid = slot.pid.load(std::memory_order_relaxed),
                     .ino = slot.ino.load(std::memory_order_relaxed),
                     .range = {slot.begin.load(std::memory_order_relaxed),
                               slot.end.load(std::memory_order_relaxed)},
                     .what = what,
                     .since = std::chrono::system_clock::time_point(
                         std::chrono::duration_cast<std::chrono::system_clock::duration>(
                             std::chrono::nanoseconds(since)))});
    // Another request may have taken the slot while it was read.
    if (slot.since_ns.load(std::memory_order_acquire) != since) found.pop_back();
  }
  std::ranges::sort(found, {}, &Reference::since);
  return found;
}

}  // namespace pmemd
