// From the coordinates of one space to those of another, where the same bytes lie in both.
//
// Thread contract: functions of values.
#pragma once

#include <cassert>

#include "core/range/range.h"

namespace pmemd {

// `part` of `from`, in the coordinates of `to`, which is as long and has the same bytes.
template <class From, class To>
constexpr Range<To> translate(Range<From> part, Range<From> from, Range<To> to) {
  assert(from.contains(part));
  return Range<To>::sized(to.begin + (part.begin - from.begin), part.length());
}

}  // namespace pmemd
