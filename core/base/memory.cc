#include "core/base/memory.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <mutex>

namespace pmemd {
namespace {

constexpr size_t kReserveBytes = size_t{4} << 20;
constexpr size_t kForUnwindingBytes = size_t{512} << 10;
constexpr size_t kProbeBytes = size_t{256} << 10;  // what a request may want at once

// First fit, with adjacent blocks merged: it is rarely used, and then for small blocks.
class Reserve {
 public:
  constexpr Reserve() = default;

  // Null if more than `limit` would then be taken.
  void* take(size_t bytes, size_t limit) {
    if (bytes > kReserveBytes) return nullptr;
    const size_t wanted = (bytes + 2 * sizeof(Block) - 1) / sizeof(Block) * sizeof(Block);
    const std::lock_guard lock(mutex_);
    if (used_ + wanted > limit) return nullptr;
    if (!is_set_up_) {
      free_ = new (memory_.data()) Block{kReserveBytes, nullptr};
      is_set_up_ = true;
    }
    for (Block** at = &free_; *at != nullptr; at = &(*at)->next) {
      Block* const block = *at;
      if (block->bytes < wanted) continue;
      if (block->bytes - wanted >= 2 * sizeof(Block)) {
        *at =
            new (reinterpret_cast<char*>(block) + wanted) Block{block->bytes - wanted, block->next};
        block->bytes = wanted;
      } else {
        *at = block->next;
      }
      used_ += block->bytes;
      return block + 1;
    }
    return nullptr;
  }

  bool owns(const void* memory) const {
    const auto address = reinterpret_cast<uintptr_t>(memory);
    const auto begin = reinterpret_cast<uintptr_t>(memory_.data());
    return address - begin < kReserveBytes;
  }

  void give_back(void* memory) {
    Block* const block = static_cast<Block*>(memory) - 1;
    const std::lock_guard lock(mutex_);
    used_ -= block->bytes;
    Block* before = nullptr;
    Block* behind = free_;
    for (; behind != nullptr && behind < block; behind = behind->next) before = behind;
    block->next = behind;
    (before != nullptr ? before->next : free_) = block;
    if (behind != nullptr) merge(block);
    if (before != nullptr) merge(before);
  }

  size_t used() const { return used_.load(std::memory_order_relaxed); }

 private:
  struct alignas(std::max_align_t) Block {
    size_t bytes;  // with this head
    Block* next;   // of the free ones, by address
  };

  static void merge(Block* block) {
    if (reinterpret_cast<char*>(block) + block->bytes != reinterpret_cast<char*>(block->next)) {
      return;
    }
    block->bytes += block->next->bytes;
    block->next = block->next->next;
  }

  std::mutex mutex_;  // a leaf, held for moments: not a Mutex, since that one may call back
  Block* free_ = nullptr;
  bool is_set_up_ = false;
  std::atomic<size_t> used_ = 0;
  alignas(std::max_align_t) std::array<char, kReserveBytes> memory_ = {};
};

constinit Reserve g_reserve;
constinit std::atomic<AllocateHook> g_allocate = nullptr;

void* allocate(size_t bytes) {
  const AllocateHook hook = g_allocate.load(std::memory_order_relaxed);
  return hook == nullptr ? std::malloc(bytes) : hook(bytes);
}

}  // namespace

Result<void> check_memory() {
  if (g_reserve.used() < kReserveBytes / 2) return {};
  void* const probe = std::malloc(kProbeBytes);
  if (probe == nullptr) return fail_no_memory();
  std::free(probe);
  return {};
}

// No longer than a string can hold without an allocation.
std::unexpected<Error> fail_no_memory() { return fail(ENOMEM, "out of memory"); }

size_t reserve_used_bytes() { return g_reserve.used(); }

void set_allocate_hook(AllocateHook hook) { g_allocate = hook; }

}  // namespace pmemd

// Weak: a sanitizer's own versions win, and then memory doesn't run out.
[[gnu::weak]] void* operator new(size_t bytes) {
  if (bytes == 0) bytes = 1;
  if (void* memory = pmemd::allocate(bytes)) return memory;
  if (std::uncaught_exceptions() > 0) {
    if (void* memory = pmemd::g_reserve.take(bytes, pmemd::kReserveBytes)) return memory;
  } else if (pmemd::MustAllocate::is_on()) {
    constexpr size_t kMost = pmemd::kReserveBytes - pmemd::kForUnwindingBytes;
    if (void* memory = pmemd::g_reserve.take(bytes, kMost)) return memory;
  } else if (pmemd::MayUseReserve::is_on()) {
    if (void* memory = pmemd::g_reserve.take(bytes, pmemd::kReserveBytes / 2)) return memory;
  }
  throw std::bad_alloc();
}

[[gnu::weak]] void operator delete(void* memory) noexcept {
  if (pmemd::g_reserve.owns(memory)) return pmemd::g_reserve.give_back(memory);
  std::free(memory);
}

[[gnu::weak]] void operator delete(void* memory, size_t /*bytes*/) noexcept {
  operator delete(memory);
}
