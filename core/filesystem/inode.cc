#include "core/filesystem/inode.h"

#include <algorithm>

#include "core/base/units.h"

namespace pmemd {
namespace {

constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr int64_t kDay = 24 * 60 * 60 * kNanosecondsPerSecond;
constexpr uint64_t kSectorSize = 512;
// A directory's st_size has no meaning; it looks as if 64 entries made a block.
constexpr uint64_t kEntriesPerBlock = 64;

uint64_t directory_size(uint64_t entries) {
  return std::max<uint64_t>(1, (entries + kEntriesPerBlock - 1) / kEntriesPerBlock) * kPageSize;
}

}  // namespace

int64_t to_nanoseconds(const timespec& time) {
  constexpr int64_t kMaxSeconds = INT64_MAX / kNanosecondsPerSecond - 1;
  const int64_t seconds = std::clamp<int64_t>(time.tv_sec, -kMaxSeconds, kMaxSeconds);
  return seconds * kNanosecondsPerSecond + time.tv_nsec;
}

timespec to_timespec(int64_t nanoseconds) {
  timespec time{nanoseconds / kNanosecondsPerSecond, nanoseconds % kNanosecondsPerSecond};
  if (time.tv_nsec < 0) {
    time.tv_sec -= 1;
    time.tv_nsec += kNanosecondsPerSecond;
  }
  return time;
}

Result<void> check_regular(const InodeRow& row) {
  if (row.is_regular()) return {};
  return fail(row.is_directory() ? EISDIR : EINVAL);
}

void Inode::touch_atime(int64_t now) {
  // Not subtracted, because times may be any value.
  if (row.atime > row.mtime && row.atime > row.ctime && row.atime > now - kDay) return;
  row.atime = now;
  times_dirty = true;
}

Attr to_attr(const InodeRow& row, uint64_t mapped_bytes) {
  Attr attr;
  attr.ino = row.ino;
  attr.mode = row.mode;
  attr.nlink = row.nlink;
  attr.uid = row.uid;
  attr.gid = row.gid;
  attr.rdev = row.rdev;
  attr.size = row.is_directory() ? directory_size(row.size) : row.size;
  attr.blocks = (row.is_directory() ? attr.size : mapped_bytes) / kSectorSize;
  attr.atime = to_timespec(row.atime);
  attr.mtime = to_timespec(row.mtime);
  attr.ctime = to_timespec(row.ctime);
  attr.btime = to_timespec(row.btime);
  return attr;
}

}  // namespace pmemd
