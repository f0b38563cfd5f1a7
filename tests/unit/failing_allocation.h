// The n-th allocation of C++ in this thread fails, or all from it on; or in all other threads.
//
// Thread contract: one at a time in a thread, and others aren't touched; FailingElsewhere: one at a
// time in the process.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "core/base/memory.h"

namespace pmemd {

class FailingAllocation {
 public:
  enum class Which { kOne, kAllFrom };
  explicit FailingAllocation(uint64_t nth, Which which = Which::kOne) {
    left = nth;
    all = which == Which::kAllFrom;
    is_hit = false;
    set_allocate_hook(allocate);
  }
  ~FailingAllocation() { left = 0; }
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;

  // False: a sanitizer's own operator new has taken the place of core/base/memory.cc's.
  static bool is_possible() {
    const FailingAllocation first(1);
    try {
      void* volatile memory = ::operator new(1);
      ::operator delete(memory);
    } catch (const std::bad_alloc&) {
      return true;
    }
    return false;
  }

  // There were as many.
  bool hit() const { return is_hit; }

 private:
  static void* allocate(size_t bytes) {
    if (left != 0 && --left == 0) {
      is_hit = true;
      if (all) left = 1;
      return nullptr;
    }
    return std::malloc(bytes);
  }

  static inline constinit thread_local uint64_t left = 0;
  static inline constinit thread_local bool all = false;
  static inline constinit thread_local bool is_hit = false;
};

class FailingElsewhere {
 public:
  explicit FailingElsewhere(uint64_t nth, FailingAllocation::Which which) {
    is_here = true;
    all = which == FailingAllocation::Which::kAllFrom;
    is_hit = false;
    left = nth;
    set_allocate_hook(allocate);
  }
  ~FailingElsewhere() {
    set_allocate_hook(nullptr);
    is_here = false;
  }
  FailingElsewhere(const FailingElsewhere&) = delete;
  FailingElsewhere& operator=(const FailingElsewhere&) = delete;

  bool hit() const { return is_hit; }

 private:
  static void* allocate(size_t bytes) {
    if (is_here) return std::malloc(bytes);
    const uint64_t before = left.fetch_sub(1);
    // More than 2^63 are left: it has been passed.
    if (before != 1 && !(all && before - 1 > UINT64_MAX / 2)) return std::malloc(bytes);
    is_hit = true;
    return nullptr;
  }

  static inline constinit thread_local bool is_here = false;
  static inline constinit std::atomic<uint64_t> left = 0;
  static inline constinit std::atomic<bool> all = false;
  static inline constinit std::atomic<bool> is_hit = false;
};

}  // namespace pmemd
