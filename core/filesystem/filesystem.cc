#include "core/filesystem/filesystem.h"

#include <algorithm>
#include <cassert>
#include <span>
#include <utility>

#include "core/base/memory.h"
#include "core/filesystem/change.h"
#include "core/filesystem/extent_scan.h"
#include "core/filesystem/paths.h"
#include "core/filesystem/rows.h"
#include "core/filesystem/state.h"
#include "core/filesystem/superblock.h"
#include "core/pool/columns.h"
#include "core/pool/schema.h"
#include "core/range/range_set.h"

namespace pmemd {
namespace {

constexpr size_t kTimesBatch = 64;

// Removes the inodes without links that the kernel doesn't know; returns the others. Adds the space
// of the removed ones to `freed`. Nothing is in use yet.
Result<std::vector<uint64_t>> remove_orphans(Database& db, Rows& rows, const LookupCounts& lookups,
                                             std::vector<DataRange>& freed) {
  Transaction transaction(db);
  PMEMD_TRY(transaction.begin());
  PMEMD_ASSIGN(auto orphans, rows.orphans());
  const auto forgotten =
      std::ranges::partition(orphans, [&lookups](uint64_t ino) { return lookups.is_known(ino); });
  for (const uint64_t ino : forgotten) {
    PMEMD_ASSIGN(const auto extents, rows.extents(ino));
    for (const Extent& extent : extents) freed.push_back(extent.data());
    PMEMD_TRY(rows.remove_inode(ino));
  }
  orphans.erase(forgotten.begin(), orphans.end());
  PMEMD_TRY(transaction.commit());
  return orphans;
}

struct Extents {
  std::vector<DataRange> used;  // of the data area, in no order
  uint64_t checksum = 0;
};

Result<Extents> read_extents(Database& db, Rows& rows) {
  Extents all;
  PMEMD_ASSIGN(all.checksum,
               scan_extents(db, rows, [&](DataRange data) { all.used.push_back(data); }));
  return all;
}

// Changes nothing.
Result<Extents> verify_rows(Database& db, Rows& rows, uint64_t data_bytes,
                            const FileSystem::Options& options) {
  {
    MutexLock lock(db.mutex());
    PMEMD_TRY(rows.verify());
  }
  PMEMD_ASSIGN(Extents extents, read_extents(db, rows));
  PMEMD_TRY(Allocator::check_used(data_bytes, extents.used));
  if (!options.clean || !options.extents_checksum ||
      *options.extents_checksum == extents.checksum) {
    return extents;
  }
  return fail(EIO,
              "pool.db: its extents are not those of its last disable: some were lost or changed",
              kDamagedHint);
}

// A file system of pool version 2 has none.
Result<void> check_superblock(Database& db, Rows& rows, Media& media,
                              const FileSystem::Options& options) {
  std::vector<Extent> extents;
  {
    MutexLock lock(db.mutex());
    PMEMD_ASSIGN(extents, rows.extents(make_inode_number(options.serial, kRootIndex)));
  }
  if (extents.empty()) return {};
  const bool is_readable = media.bad(superblock_range(media.size_bytes())).empty();
  return options.tolerant && !is_readable
             ? Result<void>()
             : verify_superblock(media, options.serial, options.superblock_elsewhere);
}

// Bad bytes stay bad until they are allocated, which makes them good. But their contents are
// dropped, clean or not: they may have been freed while they couldn't be cleared, and their error
// may be removed at any time.
Result<void> drop_free(Media& media, const Allocator& free_space, bool clean) {
  Result<void> dropped;
  const auto drop = [&](DataRange range) {
    if (dropped) dropped = media.drop(range);
  };
  free_space.for_each_free([&](DataRange range) {
    if (!clean) return drop(range);
    RangeSet<DataSpace> bad;
    for (const DataRange& part : media.bad(range)) {
      bad.insert(part.widened_to(kPageSize));
    }
    bad.for_each(drop);
  });
  return dropped;
}

}  // namespace

timespec current_time() {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now;
}

Result<bool> FileSystem::is_formatted(Database& db, uint64_t serial) {
  MutexLock lock(db.mutex());
  PMEMD_ASSIGN(Rows rows, Rows::prepare(db, serial, /*data_bytes=*/0));
  PMEMD_ASSIGN(const auto root, rows.inode(make_inode_number(serial, kRootIndex)));
  return root.has_value();
}

Result<void> FileSystem::format(Database& db, uint64_t serial, uint64_t data_bytes,
                                const Caller& owner) {
  Transaction transaction(db);
  PMEMD_TRY(transaction.begin());
  PMEMD_ASSIGN(Rows rows, Rows::prepare(db, serial, data_bytes));
  PMEMD_ASSIGN(const auto found, rows.inode(make_inode_number(serial, kRootIndex)));
  if (found) return {};
  // A new root would hide all files, while their space is taken.
  PMEMD_ASSIGN(const bool has_files, rows.has_files());
  if (has_files) {
    return fail(EIO, "pool.db: files without a root directory", kDamagedHint);
  }
  InodeRow root;
  root.ino = root.parent = make_inode_number(serial, kRootIndex);
  root.mode = S_IFDIR | 0755;
  root.uid = owner.uid;
  root.gid = owner.gid;
  root.nlink = 2;
  root.btime = root.atime = root.mtime = root.ctime = to_nanoseconds(current_time());
  PMEMD_TRY(rows.insert_inode(root, {}));
  if (data_bytes != 0) {
    const DataRange superblock = superblock_range(data_bytes);
    PMEMD_TRY(rows.put_extent(root.ino, {0, superblock.begin, superblock.length()}));
  }
  return transaction.commit();
}

Result<std::unique_ptr<FileSystem>> FileSystem::mount(Database& db, Media& media, Srcu& srcu,
                                                      const LookupCounts& lookups,
                                                      const Options& options) {
  std::optional<Rows> rows;
  {
    MutexLock lock(db.mutex());
    PMEMD_ASSIGN(rows, Rows::prepare(db, options.serial, media.size_bytes()));
  }
  // First: nothing, above all no byte, may change unless we know whose data area this is.
  PMEMD_TRY(check_superblock(db, *rows, media, options));
  PMEMD_ASSIGN(auto extents, verify_rows(db, *rows, media.size_bytes(), options));
  if (options.mark_in_use) PMEMD_TRY(options.mark_in_use());
  std::vector<DataRange> freed;
  PMEMD_ASSIGN(const auto unlinked, remove_orphans(db, *rows, lookups, freed));
  if (!freed.empty()) {
    PMEMD_ASSIGN(extents, read_extents(db, *rows));
  }
  for (const DataRange& range : freed) PMEMD_TRY(media.drop(range));
  PMEMD_ASSIGN(Allocator free_space,
               Allocator::with_used(media.size_bytes(), std::move(extents.used)));
  PMEMD_TRY(drop_free(media, free_space, options.clean));
  auto state = std::make_unique<FsState>(db, *std::move(rows), media, srcu, lookups, options,
                                         std::move(free_space));
  for (const uint64_t ino : unlinked) {
    MutexLock lock(state->change_mutex);
    PMEMD_TRY(state->load(ino));
  }
  return std::unique_ptr<FileSystem>(new FileSystem(std::move(state)));
}

FileSystem::FileSystem(std::unique_ptr<FsState> state) : state_(std::move(state)) {}
FileSystem::~FileSystem() = default;

uint64_t FileSystem::root() const { return make_inode_number(state_->options.serial, kRootIndex); }

Result<struct statvfs> FileSystem::statfs() {
  FsState& fs = *state_;
  MutexLock change(fs.change_mutex);
  bool counted = false;
  {
    MutexLock lock(fs.mutex);
    counted = fs.inode_count.has_value();
  }
  if (!counted) {
    uint64_t count = 0;
    {
      MutexLock lock(fs.db.mutex());
      PMEMD_ASSIGN(count, fs.rows.count_inodes());
    }
    MutexLock lock(fs.mutex);
    fs.inode_count = count;
  }
  MutexLock lock(fs.mutex);
  struct statvfs stat = {};
  stat.f_bsize = stat.f_frsize = kPageSize;
  stat.f_blocks = fs.allocator.size_bytes() / kPageSize;
  // Space on its way back counts as free: a user who frees space expects to see it.
  stat.f_bfree = stat.f_bavail =
      (fs.allocator.free_bytes() + fs.retiring_bytes + fs.zeroing_bytes) / kPageSize;
  // Inodes take no data blocks; reporting as many free inodes as blocks is a convention.
  stat.f_files = *fs.inode_count + stat.f_bfree;
  stat.f_ffree = stat.f_favail = stat.f_bfree;
  stat.f_namemax = kNameMax;
  return stat;
}

void FileSystem::forget(uint64_t ino) {
  FsState& fs = *state_;
  // Most forgotten inodes need no work.
  const auto drop = [&fs, ino] {
    MutexLock change(fs.change_mutex);
    MutexLock lock(fs.mutex);
    fs.allocator.drop_reservations(ino);
    const auto it = fs.inodes.find(ino);
    if (it == fs.inodes.end()) return true;
    if (!it->second.can_be_let_go()) return false;
    fs.inodes.erase(it);
    return true;
  };
  if (drop()) return;
  // The next mount retries what fails here, except times, which matter least.
  (void)fs.remove_if_unused(ino);
  (void)fs.write_times({&ino, 1});
  (void)drop();
}

size_t FileSystem::cached_inodes() const {
  MutexLock lock(state_->mutex);
  return state_->inodes.size();
}

bool FileSystem::free_space_is_zero() const {
  MutexLock lock(state_->mutex);
  return state_->free_space_is_zero;
}

Result<uint64_t> FileSystem::extents_checksum() { return scan_extents(state_->db, state_->rows); }

Result<void> FileSystem::flush_times() {
  std::vector<uint64_t> dirty;
  {
    MutexLock lock(state_->mutex);
    for (const auto& [ino, inode] : state_->inodes) {
      if (inode.times_dirty) dirty.push_back(ino);
    }
  }
  // A few at a time, so that others get their turn.
  for (std::span<const uint64_t> rest = dirty; !rest.empty();) {
    const auto batch = rest.first(std::min(rest.size(), kTimesBatch));
    PMEMD_TRY(state_->write_times(batch));
    rest = rest.subspan(batch.size());
  }
  return {};
}

namespace {

// What an fsync must persist of the inode, even if others persist some of it at the same time.
std::vector<DataRange> begin_fsync(Inode& inode) {
  inode.unsynced.for_each([&](FileRange range) { inode.syncing.insert(range); });
  std::vector<DataRange> ranges;
  inode.syncing.for_each([&](FileRange range) {
    for (const Extent& extent : inode.extents.find(range)) {
      const DataRange data = extent.data();
      ranges.push_back(data.widened_to(kPageSize));
    }
  });
  // Nothing fails after this; before it, everything is still unsynced.
  inode.unsynced.clear();
  ++inode.fsyncs;
  return merged(std::move(ranges));
}

void end_fsync(Inode& inode, bool durable) {
  if (!durable) inode.syncing.for_each([&](FileRange range) { inode.unsynced.insert(range); });
  if (inode.fsyncs == 0) return;  // evicted meanwhile
  --inode.fsyncs;
  if (inode.fsyncs == 0) inode.syncing.clear();
}

}  // namespace

// Bytes first, then the metadata. After a power loss in between, bytes that the table doesn't
// record are in free space, which the mount that finds the namespace unclean discards.
Result<void> FileSystem::fsync(uint64_t ino, bool datasync) {
  FsState& fs = *state_;
  std::vector<DataRange> ranges;
  PMEMD_TRY(fs.with_inode(ino, [&](Inode& inode) -> Result<void> {
    ranges = begin_fsync(inode);
    return {};
  }));
  const Result<void> durable = or_no_memory([&]() -> Result<void> {
    for (const DataRange& range : ranges) PMEMD_TRY(fs.media.persist(range));
    return {};
  });
  PMEMD_TRY(fs.with_inode(ino, [&](Inode& inode) -> Result<void> {
    end_fsync(inode, durable.has_value());
    return {};
  }));
  PMEMD_TRY(durable);
  if (!datasync) PMEMD_TRY(fs.write_times({&ino, 1}));
  return fs.db.sync();
}

Result<void> FileSystem::owners(const DataRanges& ranges, FailedParts& parts) {
  FsState& fs = *state_;
  std::vector<Rows::Owner> owners;
  {
    MutexLock lock(fs.db.mutex());
    PMEMD_ASSIGN(owners, fs.rows.owners(ranges));
  }
  parts.reserve(parts.size() + owners.size());
  for (const auto& [ino, extent] : owners) {
    parts.push_back(
        {.ino = ino, .file = extent.file(), .data = extent.data(), .is_metadata = ino == root()});
  }
  return {};
}

Result<std::map<uint64_t, std::string>> FileSystem::paths(const std::set<uint64_t>& inos) {
  FsState& fs = *state_;
  Rows::Names names;
  {
    MutexLock lock(fs.db.mutex());
    PMEMD_ASSIGN(names, fs.rows.names_of(inos));
  }
  std::map<uint64_t, std::string> paths;
  for (const uint64_t ino : inos) {
    std::string path;
    uint64_t at = ino;
    // At most as many steps as there are entries: a damaged pool may have a loop.
    for (size_t steps = 0; at != root() && steps <= names.size(); ++steps) {
      const auto found = names.find(at);
      if (found == names.end()) break;
      path.insert(0, "/" + found->second.second);
      at = found->second.first;
    }
    if (at == root()) paths.emplace(ino, path.empty() ? "/" : path);
  }
  return paths;
}

Result<std::vector<std::pair<FileRange, DataRange>>> FileSystem::extents(uint64_t ino) {
  using Extents = std::vector<std::pair<FileRange, DataRange>>;
  return state_->with_inode(ino, [](const Inode& inode) -> Result<Extents> {
    Extents found;
    for (const Extent& extent : inode.extents.all()) {
      found.emplace_back(extent.file(), extent.data());
    }
    return found;
  });
}

}  // namespace pmemd
