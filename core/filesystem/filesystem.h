// The file system of one fsdax namespace: inodes, directories, extents. No FUSE types.
//
// The database is authoritative; memory caches inodes that are in use. Data lies in extents
// of the namespace's data area; a hole has none and reads as zeros.
//
// Invariants:
//  1. A change is one transaction, committed before the function returns; a failed one leaves
//     everything as it was. Exception: times that a read or an overwrite changes are kept in memory
//     and written by fsync(), flush_times(), forget(), every other change of the inode, and when
//     the inode must make room for others.
//  2. Space goes from a file to the free list only after every request that may still use it has
//     ended (Srcu::retire), and reads as zeros from then on.
//  3. An extent is recorded before bytes are written to it.
//  4. An inode without links lives as long as the kernel knows it (LookupCounts), then goes.
//
// Thread contract: every function from any thread, inside a read section of the namespace's Srcu
// (which the caller holds until the request's reply has left). No lock is held on return.
// Errors: the errnos that ext4 returns for the call; each function names its own.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/error.h"
#include "core/base/srcu.h"
#include "core/database/database.h"
#include "core/filesystem/xattr.h"
#include "core/media/media.h"
#include "core/pagemap/failed_part.h"
#include "core/range/range.h"

namespace pmemd {

class FsState;

// The time for inodes' stamps: the kernel's coarse real-time clock, which its own file systems use,
// too. It never runs ahead of time(2), and never goes back.
timespec current_time();

struct Attr {
  uint64_t ino = 0;
  mode_t mode = 0;
  uint32_t nlink = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  dev_t rdev = 0;
  uint64_t size = 0;    // bytes
  uint64_t blocks = 0;  // of 512 bytes
  // Blocks of holes that the kernel's page cache may have filled without a request; not in
  // `blocks`.
  uint64_t dirtied_blocks = 0;
  timespec atime = {}, mtime = {}, ctime = {}, btime = {};

  // The test that programs use to copy a file sparsely.
  bool has_holes() const { return S_ISREG(mode) && blocks * 512 < size; }
};

// The caller: owns what it creates; the kernel has already checked permissions.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t umask = 0;
};

// Whether a read stamps its inode, by the rules of `relatime`.
enum class Atime : uint8_t { kTouch, kKeep };

// What to change; absent: leave.
struct SetAttr {
  std::optional<mode_t> mode;  // permission bits
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<uint64_t> size;
  std::optional<timespec> atime, mtime, ctime;  // the caller fills in "now"
};

struct DirEntry {
  std::string name;
  uint64_t ino = 0;
  mode_t type = 0;           // S_IFMT bits
  uint64_t next_cookie = 0;  // continues after this entry
};

// The lookups of each inode that the kernel hasn't yet forgotten. Belongs to the mount; outlives
// the FileSystem, so that a namespace that is disabled and enabled again keeps unlinked files that
// are still open. Thread contract: any thread.
class LookupCounts {
 public:
  void add(uint64_t ino, uint64_t count = 1) PMEMD_EXCLUDES(mutex_);
  // True: the count is now zero: the kernel doesn't know the inode any more.
  bool drop(uint64_t ino, uint64_t count) PMEMD_EXCLUDES(mutex_);
  bool is_known(uint64_t ino) const PMEMD_EXCLUDES(mutex_);
  uint64_t size() const PMEMD_EXCLUDES(mutex_);
  std::vector<uint64_t> known() const PMEMD_EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  // ino → count
  std::unordered_map<uint64_t, uint64_t> counts_ PMEMD_GUARDED_BY(mutex_);
};

class FileSystem {
 public:
  struct Options {
    uint64_t serial = 0;  // the namespace's; upper bits of all inode numbers
    bool clean = true;    // false: discard all free space first
    // The extents_checksum() when it was disabled, if that is known and it is clean.
    std::optional<uint64_t> extents_checksum = {};
    // Called when everything has been verified, before the first change.
    std::function<Result<void>()> mark_in_use = {};
    bool tolerant = false;  // carry on without metadata that can't be read
    // Where the superblock is if the device was assembled wrongly: pages of the data area.
    std::vector<DataRange> superblock_elsewhere = {};
    std::function<timespec()> clock = current_time;
    // How many inodes are kept in memory, beside those that can't be dropped.
    size_t cached_inodes_max = 32768;
    // How long a request that finds no space waits for others that delay freed space.
    std::chrono::milliseconds space_timeout{20};
  };

  // Makes the root directory (0755, owner given), unless it exists; and takes the last block of the
  // data area, which has `data_bytes`, for the superblock; 0: without one, as in pools of version
  // 2.
  static Result<bool> is_formatted(Database& db, uint64_t serial);
  static Result<void> format(Database& db, uint64_t serial, uint64_t data_bytes,
                             const Caller& owner);

  // Reads the free space from the extents, removes orphans that `lookups` doesn't know.
  // EIO: extents overlap or leave the data area (the message names them), or don't match
  // Options::extents_checksum. EUCLEAN: the superblock is another's, or elsewhere; or it is
  // poisoned, and Options::tolerant isn't set. After any of these nothing has changed.
  static Result<std::unique_ptr<FileSystem>> mount(Database& db, Media& media, Srcu& srcu,
                                                   const LookupCounts& lookups,
                                                   const Options& options);
  ~FileSystem();  // flush_times() first; nothing in flight

  uint64_t root() const;

  // --- names. ENOENT, EEXIST, ENOTDIR, ENAMETOOLONG (> 255 bytes), ENOTEMPTY, EMLINK, ENOSPC.
  // A function that returns an Attr for a name doesn't count a lookup: the caller does.
  Result<Attr> lookup(uint64_t parent, std::string_view name);
  Result<Attr> mknod(uint64_t parent, std::string_view name, mode_t mode, dev_t rdev,
                     const Caller& caller);  // regular files too
  Result<Attr> mkdir(uint64_t parent, std::string_view name, mode_t mode, const Caller& caller);
  Result<Attr> symlink(uint64_t parent, std::string_view name, std::string_view target,
                       const Caller& caller);
  Result<Attr> tmpfile(uint64_t parent, mode_t mode, const Caller& caller);  // no name, nlink 0
  Result<Attr> link(uint64_t ino, uint64_t parent, std::string_view name);
  Result<void> unlink(uint64_t parent, std::string_view name);
  Result<void> rmdir(uint64_t parent, std::string_view name);
  // flags: 0, RENAME_NOREPLACE, RENAME_EXCHANGE; others EINVAL.
  Result<void> rename(uint64_t parent, std::string_view name, uint64_t new_parent,
                      std::string_view new_name, unsigned flags);
  Result<std::string> readlink(uint64_t ino);

  // Entries after `cookie` (0: from the start), `.` and `..` first, until `take` returns false.
  // Cookies stay valid while entries come and go.
  Result<void> readdir(uint64_t dir, uint64_t cookie,
                       const std::function<bool(const DirEntry&)>& take,
                       Atime atime = Atime::kTouch);
  // The same with the Attr that lookup() would return for each; an empty one for `.` and `..`.
  // Counts no lookups, either.
  Result<void> readdirplus(uint64_t dir, uint64_t cookie,
                           const std::function<bool(const DirEntry&, const Attr&)>& take,
                           Atime atime = Atime::kTouch);

  // --- attributes
  Result<Attr> getattr(uint64_t ino);  // ESTALE: no such inode
  // size: EFBIG beyond the largest file (16 TiB - 4 KiB, as in ext4 with blocks of 4 KiB; free
  // space limits how much of that can be written); frees, and zeroes the rest of the last block.
  Result<Attr> setattr(uint64_t ino, const SetAttr& change);
  Xattrs xattrs() { return Xattrs(*this); }

  // --- data
  // What a read of `range` returns, clipped to the size, as iovecs into the image and into a page
  // of zeros: for a system call, valid until the caller's Srcu section closes. EIO: part of it is
  // bad.
  Result<std::vector<iovec>> read(uint64_t ino, FileRange range,
                                  Media::Reader reader = Media::Reader::kProgram,
                                  Atime atime = Atime::kTouch);
  // Allocates, records, writes. All or nothing is recorded. ENOSPC, EFBIG, EIO (as Media::write()).
  Result<void> write(uint64_t ino, uint64_t offset, std::span<const std::byte> data,
                     Media::Writer writer = Media::Writer::kProgram);
  // mode: 0, FALLOC_FL_KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE[|KEEP_SIZE]; others EOPNOTSUPP.
  Result<void> fallocate(uint64_t ino, int mode, uint64_t offset, uint64_t length);
  // SEEK_DATA, SEEK_HOLE. ENXIO past the end. `lent`: ranges (disjoint, in order) that the kernel
  // may have dirtied without telling us; they count as data.
  Result<uint64_t> lseek(uint64_t ino, uint64_t offset, int whence,
                         const std::vector<FileRange>& lent);
  // How many bytes of these ranges (disjoint, in order) lie in holes, up to the page that the file
  // ends in.
  Result<uint64_t> hole_bytes(uint64_t ino, const std::vector<FileRange>& ranges);
  // Data and metadata are durable when it returns. EIO, ENOSPC.
  Result<void> fsync(uint64_t ino, bool datasync);

  // --- the file system as a whole
  Result<struct statvfs> statfs();
  // The kernel has forgotten the inode: drops it from the cache, and removes it if it has no links.
  void forget(uint64_t ino);
  // False: some freed space could not be zeroed, so the next mount must discard all free space.
  bool free_space_is_zero() const;
  // The checksum of all rows of extents. Call it only when no request is in flight and none can
  // begin.
  Result<uint64_t> extents_checksum();
  Result<void> flush_times();  // times kept in memory, of all inodes
  size_t cached_inodes() const;
  // The reverse map: adds the files' parts of `ranges`, in the order of `ranges`; leaves out space
  // that nobody owns. The file system's metadata belongs to its root. After an error nothing is
  // added.
  Result<void> owners(const DataRanges& ranges, FailedParts& parts);
  // One path of each of these inodes, from the root: "/a/b"; those without links have none. Reads
  // every directory once: for reports, not for requests.
  Result<std::map<uint64_t, std::string>> paths(const std::set<uint64_t>& inos);
  // Where an inode's bytes lie.
  Result<std::vector<std::pair<FileRange, DataRange>>> extents(uint64_t ino);

 private:
  friend class Xattrs;
  explicit FileSystem(std::unique_ptr<FsState> state);
  std::unique_ptr<FsState> state_;
};

}  // namespace pmemd
