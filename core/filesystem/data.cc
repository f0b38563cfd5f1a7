// A file's bytes: read, write, fallocate, lseek.
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "core/base/memory.h"
#include "core/base/units.h"
#include "core/filesystem/space.h"
#include "core/filesystem/state.h"

namespace pmemd {
namespace {

// What a hole reads as; never written.
alignas(kPageSize) std::array<std::byte, kMiB> zeros;

void add_zeros(std::vector<iovec>& parts, uint64_t length) {
  while (length > 0) {
    const uint64_t part = std::min<uint64_t>(length, zeros.size());
    parts.push_back({zeros.data(), part});
    length -= part;
  }
}

uint64_t total_length(const std::vector<Extent>& extents) {
  uint64_t length = 0;
  for (const Extent& extent : extents) length += extent.length;
  return length;
}

// Zeroes the blocks of `range` that are already mapped; new blocks are zero anyway.
Result<void> zero_range(FsState& fs, uint64_t ino, FileRange range, uint64_t size) {
  std::vector<Extent> old;
  PMEMD_TRY(fs.with_file(ino, [&](Inode& inode) -> Result<void> {
    old = inode.extents.find(range);
    return {};
  }));
  // Steps that may fail on bad bytes come first.
  for (const Extent& extent : old) {
    if (!fs.media.bad(extent.data()).empty()) PMEMD_TRY(fs.media.zero(extent.data()));
  }
  PMEMD_TRY(map_range(fs, ino, range, size));
  const MustAllocate recorded;
  for (const Extent& extent : old) {
    PMEMD_TRY(fs.media.zero(extent.data()));
  }
  return fs.with_file(ino, [&](Inode& inode) -> Result<void> {
    mark_unsynced(inode, range);
    return {};
  });
}

// The first of the ranges that ends after `offset`.
std::vector<FileRange>::const_iterator first_behind(const std::vector<FileRange>& ranges,
                                                    uint64_t offset) {
  return std::ranges::upper_bound(ranges, offset, {}, &FileRange::end);
}

// The first offset, from `offset` on, that is in none of the extents and lent ranges; and the first
// that is in one. Neither is clipped to the size.
uint64_t next_hole(const ExtentMap& extents, const std::vector<FileRange>& lent, uint64_t offset) {
  for (bool moved = true; moved;) {
    moved = false;
    if (const auto extent = extents.next(offset); extent && extent->file_offset <= offset) {
      offset = extent->file().end;
      moved = true;
    }
    if (const auto range = first_behind(lent, offset);
        range != lent.end() && range->begin <= offset) {
      offset = range->end;
      moved = true;
    }
  }
  return offset;
}

uint64_t next_data(const ExtentMap& extents, const std::vector<FileRange>& lent, uint64_t offset) {
  uint64_t found = UINT64_MAX;
  if (const auto extent = extents.next(offset)) found = std::max(offset, extent->file_offset);
  if (const auto range = first_behind(lent, offset); range != lent.end()) {
    found = std::min(found, std::max(offset, range->begin));
  }
  return found;
}

}  // namespace

Result<std::vector<iovec>> FileSystem::read(uint64_t ino, FileRange range, Media::Reader reader,
                                            Atime atime) {
  FsState& fs = *state_;
  std::vector<Extent> mapped;
  PMEMD_TRY(fs.with_file(ino, [&](Inode& inode) -> Result<void> {
    range = range.intersect({0, inode.row.size});
    mapped = inode.extents.find(range);
    if (!range.empty() && atime == Atime::kTouch) inode.touch_atime(fs.now());
    return {};
  }));
  std::vector<iovec> parts;
  for (const Extent& extent : mapped) {
    add_zeros(parts, extent.file_offset - range.begin);
    PMEMD_TRY(fs.media.view(extent.data(), reader, parts));
    range.begin = extent.file().end;
  }
  add_zeros(parts, range.length());
  return parts;
}

Result<void> FileSystem::write(uint64_t ino, uint64_t offset, std::span<const std::byte> data,
                               Media::Writer writer) {
  if (data.empty()) return {};
  PMEMD_ASSIGN(const FileRange range, file_range(offset, data.size()));
  FsState& fs = *state_;
  std::vector<Extent> target;
  bool in_place = false;
  std::optional<MustAllocate> recorded;  // its space is taken: the bytes follow
  PMEMD_TRY(fs.with_file(ino, [&](Inode& inode) -> Result<void> {
    target = inode.extents.find(range);
    in_place = range.end <= inode.row.size && total_length(target) == range.length();
    if (in_place) {
      if (inode.row.touch(fs.now())) inode.times_dirty = true;
    }
    return {};
  }));
  if (!in_place) {
    // A write that can't clear the bad bytes it meets must not leave a larger file behind.
    for (const Extent& extent : target) {
      if (fs.media.bad(extent.data()).empty()) continue;
      PMEMD_TRY(fs.media.write(extent.data_offset,
                               data.subspan(extent.file_offset - offset, extent.length), writer));
    }
    PMEMD_TRY(map_range(fs, ino, range, range.end));
    recorded.emplace();
    PMEMD_TRY(fs.with_file(ino, [&](Inode& inode) -> Result<void> {
      target = inode.extents.find(range);
      return {};
    }));
  }
  Result<void> written;
  for (const Extent& extent : target) {
    auto part = or_no_memory([&] {
      return fs.media.write(extent.data_offset,
                            data.subspan(extent.file_offset - offset, extent.length), writer);
    });
    if (part) continue;
    if (written) written = std::move(part);
    // Stores of a mapping to other extents still reach the medium.
    if (writer == Media::Writer::kProgram) break;
  }
  // Only now: an fsync that ran meanwhile may have missed the bytes.
  PMEMD_TRY(fs.with_file(ino, [&](Inode& inode) -> Result<void> {
    mark_unsynced(inode, range);
    return {};
  }));
  return written;
}

Result<void> FileSystem::fallocate(uint64_t ino, int mode, uint64_t offset, uint64_t length) {
  if (length == 0) return fail(EINVAL);
  PMEMD_ASSIGN(const FileRange range, file_range(offset, length));
  switch (mode) {
    case 0:
      return map_range(*state_, ino, range, range.end);
    case FALLOC_FL_KEEP_SIZE:
      return map_range(*state_, ino, range, 0);
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
      return punch_range(*state_, ino, range);
    case FALLOC_FL_ZERO_RANGE:
      return zero_range(*state_, ino, range, range.end);
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
      return zero_range(*state_, ino, range, 0);
    default:
      return fail(EOPNOTSUPP);
  }
}

Result<uint64_t> FileSystem::lseek(uint64_t ino, uint64_t offset, int whence,
                                   const std::vector<FileRange>& lent) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return fail(EINVAL);
  return state_->with_file(ino, [&](const Inode& inode) -> Result<uint64_t> {
    const uint64_t size = inode.row.size;
    if (offset >= size) return fail(ENXIO);
    if (whence == SEEK_HOLE) return std::min(next_hole(inode.extents, lent, offset), size);
    const uint64_t found = next_data(inode.extents, lent, offset);
    if (found >= size) return fail(ENXIO);
    return found;
  });
}

Result<uint64_t> FileSystem::hole_bytes(uint64_t ino, const std::vector<FileRange>& ranges) {
  return state_->with_file(ino, [&](const Inode& inode) -> Result<uint64_t> {
    const FileRange pages = {0, align_up(inode.row.size, kPageSize)};
    uint64_t bytes = 0;
    for (const FileRange& range : ranges) {
      for (const FileRange& hole : inode.extents.holes(range.intersect(pages))) {
        bytes += hole.length();
      }
    }
    return bytes;
  });
}

}  // namespace pmemd
