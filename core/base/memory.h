// What happens when memory runs out: how a failed allocation is reported, and what may not fail.
//
//  - An operation may fail until it has changed something. An allocation throws std::bad_alloc; the
//    few places where operations begin (a request, a verb, a step of a removal) turn it into
//    ENOMEM: or_no_memory(). Locks, transactions and references are RAII, so nothing is left
//    behind.
//  - After the first change that can't be taken back, an operation must finish: a half-changed
//    structure, memory that must follow a committed transaction, an event, a destructor. That code
//    is a MustAllocate section: where malloc fails, operator new there takes from a reserve that
//    the process allocates at its start.
//  - A verb may fail, but it may also be the way to free memory: it is a MayUseReserve section,
//    which takes from the first half of the reserve where malloc fails. So no list that a verb
//    makes uses up what MustAllocate sections rely on.
//  - So that the reserve lasts for the operations in flight, check_memory() refuses new ones when
//    half of it is used and malloc still fails.
// A section that needs more than the reserve has still throws; where the exception can't be handled
// (noexcept), the process ends, and the next one finds the state of the transactions. A part of
// the reserve is for destructors that allocate while an exception is propagating. (JSON's allocate
// also without one: core/control/json.h.)
//
// operator new and delete of the process are replaced (memory.cc). Memory that C libraries allocate
// isn't affected: they return errors, which are handled where they are called.
//
// Thread contract: any thread; a MustAllocate belongs to the thread that made it.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

#include "core/base/error.h"

namespace pmemd {

class MustAllocate {
 public:
  MustAllocate() { ++depth; }
  ~MustAllocate() { --depth; }
  MustAllocate(const MustAllocate&) = delete;
  MustAllocate& operator=(const MustAllocate&) = delete;

  static bool is_on() { return depth != 0; }

 private:
  static inline constinit thread_local unsigned depth = 0;
};

class MayUseReserve {
 public:
  MayUseReserve() { ++depth; }
  ~MayUseReserve() { --depth; }
  MayUseReserve(const MayUseReserve&) = delete;
  MayUseReserve& operator=(const MayUseReserve&) = delete;

  static bool is_on() { return depth != 0; }

 private:
  static inline constinit thread_local unsigned depth = 0;
};

// ENOMEM if memory is so short that nothing new should begin.
Result<void> check_memory();

// An error that needs no memory.
std::unexpected<Error> fail_no_memory();

// Returns what `act` returns (a Result), or ENOMEM.
template <class Act>
std::invoke_result_t<Act&> or_no_memory(Act&& act) {
  try {
    return act();
  } catch (const std::bad_alloc&) {
    return fail_no_memory();
  }
}

// How much of the reserve is taken.
size_t reserve_used_bytes();

// For tests: operator new calls it in place of malloc; null: malloc again.
using AllocateHook = void* (*)(size_t);
void set_allocate_hook(AllocateHook hook);

}  // namespace pmemd
