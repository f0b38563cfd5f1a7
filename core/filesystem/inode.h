// An inode as in the table, and as in memory while the kernel knows it.
//
// Thread contract: values; the owner's lock guards the cached ones.
#pragma once

#include <sys/stat.h>
#include <time.h>

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/units.h"
#include "core/filesystem/extent_map.h"
#include "core/filesystem/filesystem.h"
#include "core/pool/columns.h"
#include "core/range/range_set.h"

namespace pmemd {

// Times are nanoseconds since the epoch; a time that 64 bits can't hold (before 1677, after 2262)
// becomes the nearest that they can.
int64_t to_nanoseconds(const timespec& time);
timespec to_timespec(int64_t nanoseconds);

// One row of the inodes table, without a symbolic link's target.
struct InodeRow {
  uint64_t ino = 0;
  mode_t mode = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  uint32_t nlink = 0;
  dev_t rdev = 0;
  uint64_t parent = 0;  // directories: what ".." is
  uint64_t size = 0;    // bytes; directories: number of entries
  int64_t atime = 0, mtime = 0, ctime = 0, btime = 0;

  bool is_directory() const { return S_ISDIR(mode); }
  bool is_regular() const { return S_ISREG(mode); }
  void set_permissions(mode_t bits) { mode = (mode & S_IFMT) | (bits & ~S_IFMT & 07777); }
  // False: it has these times already. The clock is coarse, so most of many writes change none.
  bool touch(int64_t now) {
    const bool is_new = mtime != now || ctime != now;
    mtime = ctime = now;
    return is_new;
  }
};

struct Inode {
  InodeRow row;
  bool times_dirty = false;  // `row`'s times are newer than the table's
  bool is_used = true;       // since the cache last looked for inodes to drop
  // Regular files.
  ExtentMap extents;
  RangeSet<FileSpace> unsynced;  // written since the last fsync began
  RangeSet<FileSpace> syncing;   // being persisted by fsyncs; a second fsync persists it again
  uint32_t fsyncs = 0;           // how many are in progress
  // Directories: the default ACL's value, empty if there is none; absent: not read yet.
  std::optional<std::string> default_acl;

  // Whether the table has everything that must not be lost with memory.
  bool can_be_let_go() const { return !times_dirty && fsyncs == 0 && row.nlink > 0; }

  // Stamps a read, as `relatime` does: if the old atime isn't after the last change, or once a day.
  void touch_atime(int64_t now);
};

// EISDIR: a directory. EINVAL: anything else but a regular file.
Result<void> check_regular(const InodeRow& row);

Attr to_attr(const InodeRow& row, uint64_t mapped_bytes);
inline Attr to_attr(const Inode& inode) { return to_attr(inode.row, inode.extents.bytes()); }

}  // namespace pmemd
