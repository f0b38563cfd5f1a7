// How many requests of each kind the kernel has sent: what a workload costs in round trips, which
// doesn't depend on the machine's speed.
//
// Thread contract: any thread; counts are relaxed, exact when nobody counts.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace pmemd {

class RequestCounts {
 public:
  // `opcode`: of a fuse_in_header (include/uapi/linux/fuse.h enum fuse_opcode).
  void count(uint32_t opcode) {
    counts_.at(opcode < kKinds ? opcode : 0).fetch_add(1, std::memory_order_relaxed);
  }
  uint64_t total() const;
  // Those that there were, by the kernel's names ("READ"; "OTHER": what has none here).
  std::vector<std::pair<std::string, uint64_t>> by_kind() const;

 private:
  static constexpr uint32_t kKinds = 52;
  std::array<std::atomic<uint64_t>, kKinds> counts_ = {};
};

}  // namespace pmemd
