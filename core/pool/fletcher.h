// Fletcher's checksum over 32-bit words, as in docs/pool-format.md: a += word; b += a, both modulo
// 2^32 from 0. It always detects a single changed word, and a changed order of words.
//
// Thread contract: a value.
// Models: nd_fletcher64() of drivers/nvdimm/core.c @v6.12; differs: words come one by one.
#pragma once

#include <cstdint>

namespace pmemd {

class Fletcher64 {
 public:
  void add(uint32_t word) {
    sum_ += word;
    sum_of_sums_ += sum_;
  }
  // Adds its two words, the lower one first.
  void add_u64(uint64_t word) {
    add(static_cast<uint32_t>(word));
    add(static_cast<uint32_t>(word >> 32));
  }
  uint64_t value() const { return uint64_t{sum_of_sums_} << 32 | sum_; }

 private:
  uint32_t sum_ = 0;
  uint32_t sum_of_sums_ = 0;
};

}  // namespace pmemd
