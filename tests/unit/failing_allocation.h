// The n-th allocation of C++ in this thread fails, or all from it on.
//
// Thread contract: one at a time in a thread; others aren't touched.
#pragma once

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

}  // namespace pmemd
