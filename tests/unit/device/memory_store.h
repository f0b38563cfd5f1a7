// Bytes in plain memory, which can be made to fail.
#pragma once

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/device/byte_store.h"

namespace pmemd {

class MemoryStore : public ByteStore {
 public:
  explicit MemoryStore(uint64_t size_bytes, std::byte fill = {}) : bytes_(size_bytes, fill) {}

  Result<void> read(uint64_t offset, std::span<std::byte> to) override {
    if (const int err = read_error; err != 0) return fail(err);
    std::ranges::copy(part(offset, to.size()), to.begin());
    return {};
  }
  Result<void> write(uint64_t offset, std::span<const std::byte> from) override {
    if (const int err = write_error; err != 0) return fail(err);
    std::ranges::copy(from, part(offset, from.size()).begin());
    return {};
  }
  Result<void> allocate(uint64_t /*offset*/, uint64_t /*length*/) override {
    if (const int err = allocate_error; err != 0) return fail(err);
    return {};
  }
  Result<void> discard(uint64_t offset, uint64_t length) override {
    if (const int err = discard_error; err != 0) return fail(err);
    std::ranges::fill(part(offset, length), std::byte{0});
    return {};
  }

  std::span<std::byte> part(uint64_t offset, uint64_t length) {
    assert(offset <= bytes_.size() && length <= bytes_.size() - offset);
    return std::span(bytes_).subspan(offset, length);
  }

  // An errno, for all calls from now on; 0: none.
  std::atomic<int> read_error = 0;
  std::atomic<int> write_error = 0;
  std::atomic<int> allocate_error = 0;
  std::atomic<int> discard_error = 0;

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace pmemd
