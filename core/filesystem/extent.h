// One extent: a run of a file's blocks and where their bytes lie in the namespace's data area.
#pragma once

#include <cstdint>

#include "core/range/range.h"

namespace pmemd {

struct Extent {
  uint64_t file_offset = 0;
  uint64_t data_offset = 0;
  uint64_t length = 0;

  constexpr FileRange file() const { return FileRange::sized(file_offset, length); }
  constexpr DataRange data() const { return DataRange::sized(data_offset, length); }

  // The part that lies in `range`; its length is 0 if there is none.
  constexpr Extent clip(FileRange range) const {
    const FileRange part = file().intersect(range);
    return {part.begin, data_offset + (part.begin - file_offset), part.length()};
  }
  // Whether `next` begins where this one ends, in the file and in the data area.
  constexpr bool continues_in(const Extent& next) const {
    return file().end == next.file_offset && data().end == next.data_offset;
  }
  constexpr bool operator==(const Extent&) const = default;
};

}  // namespace pmemd
