// Translates a range from one space to another that has the same bytes.
//
// Thread contract: pure functions.
#pragma once

#include <cassert>

#include "core/range/range.h"

namespace pmemd {

// `part`, which lies within `from`, in the coordinates of `to`, which is as long as `from` and has
// the same bytes.
template <class From, class To>
constexpr Range<To> translate(Range<From> part, Range<From> from, Range<To> to) {
  assert(from.contains(part));
  return Range<To>::sized(to.begin + (part.begin - from.begin), part.length());
}

}  // namespace pmemd
