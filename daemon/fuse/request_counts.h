// How many requests of each kind the kernel has sent: a workload's cost in round trips, which
// doesn't depend on the machine's speed.
//
// Thread contract: any thread; counts are relaxed, exact while no request is counted.
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
  // `opcode`: from a fuse_in_header (include/uapi/linux/fuse.h enum fuse_opcode).
  void count(uint32_t opcode) {
    counts_.at(opcode < kKinds ? opcode : 0).fetch_add(1, std::memory_order_relaxed);
  }
  uint64_t total() const;
  // The nonzero counts, by the kernel's names ("READ"; "OTHER": opcodes without a name here).
  std::vector<std::pair<std::string, uint64_t>> by_kind() const;

 private:
  static constexpr uint32_t kKinds = 52;
  std::array<std::atomic<uint64_t>, kKinds> counts_ = {};
};

}  // namespace pmemd
