#include "daemon/kernel/hot_ranges.h"

#include "core/base/units.h"

namespace pmemd {
namespace {

constexpr unsigned kTimeShift = 8;
constexpr unsigned kTagShift = 24;
constexpr uint64_t kTickMs = 250;
constexpr uint64_t kWindowTicks = std::chrono::milliseconds(HotRanges::kWindow).count() / kTickMs;

// splitmix64's finisher
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

std::optional<FileRange> HotRanges::note(uint64_t ino, FileRange range, uint64_t now_ms) {
  if (range.empty() || range.length() > kSmallBytes) return std::nullopt;
  const uint64_t begin = align_down(range.begin, kPartBytes);
  const uint64_t hash = mix(mix(ino) + begin / kPartBytes);
  std::atomic<uint64_t>& slot = slots_.at(hash % kSlots);
  const uint64_t tag = hash >> kTagShift << kTagShift;
  const auto tick = static_cast<uint16_t>(now_ms / kTickMs);

  const uint64_t was = slot.load(std::memory_order_relaxed);
  const auto since = static_cast<uint16_t>(was >> kTimeShift);
  uint64_t count = 1;
  uint64_t first = tick;
  if (was >> kTagShift << kTagShift == tag && static_cast<uint16_t>(tick - since) <= kWindowTicks) {
    count += was & 0xff;
    first = since;
  }
  const bool is_hot = count >= kThreshold;
  slot.store(tag | first << kTimeShift | (is_hot ? 0 : count), std::memory_order_relaxed);
  if (!is_hot) return std::nullopt;
  return FileRange::sized(begin, kPartBytes);
}

}  // namespace pmemd
