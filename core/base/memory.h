// When memory runs out: what an allocation that fails becomes, and what may not fail.
//
//  - Until an operation has changed something it may fail. An allocation throws std::bad_alloc; the
//    few places where operations begin (a request, a verb, a step of a removal) make ENOMEM of it:
//    or_no_memory(). Locks, transactions and references are RAII, so nothing is left behind.
//  - From the first change on that can't be taken back it must come to its end: a structure that is
//    half changed, memory behind a transaction that is committed, an event, what a destructor does.
//    That is a MustAllocate section: what malloc doesn't give, operator new takes there from a
//    reserve that the process has from its start.
//  - A verb may fail, but may also be what gives memory back: it is a MayUseReserve section, which
//    takes what malloc doesn't give from the first half of the reserve. So no list that a verb
//    makes takes what a MustAllocate section stands on.
//  - So that the reserve lasts for what is under way, check_memory() refuses what would begin when
//    half of it is used and malloc still gives nothing.
// A section that needs more than the reserve has throws after all; where that can't be answered any
// more (noexcept), the process ends, and the next one finds what the transactions say. A part of
// the reserve is for destructors that allocate while an exception is on its way. (JSON's do so also
// without one: core/control/json.h.)
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

// ENOMEM when memory is so short that nothing new should begin.
Result<void> check_memory();

// An error that needs no memory.
std::unexpected<Error> fail_no_memory();

// What `act` returns (a Result), or ENOMEM.
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

// For tests: called in place of malloc by operator new; null: malloc again.
using AllocateHook = void* (*)(size_t);
void set_allocate_hook(AllocateHook hook);

}  // namespace pmemd
