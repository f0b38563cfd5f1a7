// Access to mapped memory that may fail: a SIGBUS becomes a return value.
//
// An access to a mapping raises SIGBUS when the host has no block for it (disk full under a sparse
// image), when the file has become shorter, or when its medium is bad.
//
// Invariants:
//  1. Only a synchronous fault of the guarded access itself, within the range it names, is caught.
//     Any other SIGBUS goes where it went before: to the previous handler, or to the default
//     action.
//  2. The handler is installed once per process, with the first guarded access, and stays.
//
// Thread contract: any thread; guarded accesses don't nest.
#pragma once

#include <cstddef>

namespace pmemd {

// Runs `access(context)`. False if it faulted in [begin, begin + length): it was then left there
// without unwinding, so it must own nothing, and hold no lock, while it touches the range.
[[nodiscard]] bool run_guarded(const void* begin, size_t length, void (*access)(void*),
                               void* context);

// The same for a lambda.
template <class Access>
[[nodiscard]] bool guarded(const void* begin, size_t length, Access&& access) {
  return run_guarded(
      begin, length, [](void* context) { (*static_cast<Access*>(context))(); }, &access);
}

}  // namespace pmemd
