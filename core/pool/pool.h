// A pool: a directory with metadata (pool.db) and one image a region (region<N>.img).
//
// Regions have an emulated base address, so that pfns mean something. Namespaces are 2 MiB-aligned
// parts of a region; each begins with 2 MiB of metadata (an info block: core/pool/info_block.h)
// and never overlaps another. A volume puts namespaces together to one device. docs/pool-format.md
// says what lies where.
//
// Invariants:
//  1. At most one process has a pool open for writing (a lock on <pool>/lock).
//  2. Each change is there or not, after a kill or a power loss at any point: a label is not live
//     while its region or namespace is being made or destroyed, and the next open cleans up. A
//     change that failed leaves the pool as it was, files included, but for destroy_…().
//  3. A pool whose version is unknown is refused and not touched.
//  4. What no namespace covers reads as zeros: a range is free only when it has been zeroed.
//
// Thread contract: all functions from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/unique_fd.h"
#include "core/database/database.h"
#include "core/image/image.h"
#include "core/pool/labels.h"
#include "core/pool/media_errors.h"
#include "core/pool/records.h"
#include "core/pool/settings.h"
#include "core/range/range.h"

namespace pmemd {

struct CreateNamespace {
  std::optional<uint32_t> region = {};  // any with room, if none is named
  NamespaceMode mode = NamespaceMode::kFsDax;
  std::optional<uint64_t> size_bytes =
      {};  // metadata included; the largest free extent, if not given
  uint64_t align = kNamespaceMetadataSize;  // of its begin in the region
};

class Pool {
 public:
  // Makes the directory (parents exist), pool.db, region0 of `region_size` and, on it, an fsdax
  // namespace0.0 of the whole region. A directory that is there must be empty, or hold what an
  // interrupted creation has left. EEXIST: a pool is there. ENOTEMPTY: something else is. ENOSPC;
  // EINVAL: size too small or not a multiple of 2 MiB. EPERM:
  // somebody else could change the directory or the way to it (core/base/safe_path.h). Leaves
  // nothing behind on failure.
  static Result<std::unique_ptr<Pool>> create(const std::string& path, uint64_t region_size,
                                              Reservation reservation);

  enum class Mode { kReadWrite, kReadOnly };
  // Told when a pool has been upgraded, whatever becomes of the rest of the open.
  using OnUpgrade = std::function<void(const std::string& pool, int32_t from)>;
  // Read-write finishes what a kill has interrupted: half-made regions and namespaces go, as do
  // half-destroyed ones; a pool of an older version is upgraded. Read-only leaves that, and changes
  // nothing that is in the pool. ENOENT: no pool there. EBUSY: another daemon has it (its pid in
  // the message). ENOTSUP: its version is newer than ours. EIO: pool.db corrupt, an image missing
  // or short. EPERM: somebody else than root and our user could change the directory, the way to
  // it, or a file of the pool (core/base/safe_path.h), also to read only. ELOOP: a file is a link.
  static Result<std::unique_ptr<Pool>> open(const std::string& path, Mode mode,
                                            const OnUpgrade& on_upgrade = {});
  static bool exists(const std::string& path);  // a pool.db is there
  ~Pool();

  const std::string& path() const { return path_; }  // absolute, no links in it
  Database& database() { return *database_; }

  std::vector<RegionRecord> regions() const PMEMD_EXCLUDES(mutex_);
  // By region, then id.
  std::vector<NamespaceRecord> namespaces() const PMEMD_EXCLUDES(mutex_);
  Result<RegionRecord> region(uint32_t id) const PMEMD_EXCLUDES(mutex_);  // ENOENT
  // "namespace0.1"; ENOENT.
  Result<NamespaceRecord> find_namespace(std::string_view name) const PMEMD_EXCLUDES(mutex_);
  // "region0"; ENOENT.
  Result<RegionRecord> find_region(std::string_view name) const PMEMD_EXCLUDES(mutex_);

  // Free bytes of a region: all, and the largest contiguous extent.
  struct Available {
    uint64_t total_bytes = 0;
    uint64_t max_extent_bytes = 0;
  };
  Available available(uint32_t region) const PMEMD_EXCLUDES(mutex_);

  // Durable when it returns. The id is the lowest free one. `base`: its emulated physical address;
  // chosen, if not given. ENOSPC: the host disk or the emulated address space is full. EINVAL: size
  // or base. EEXIST: it would overlap another region, or a file that is no region's has the new
  // image's name.
  Result<RegionRecord> create_region(uint64_t size, Reservation reservation,
                                     std::optional<uint64_t> base = {}) PMEMD_EXCLUDES(mutex_);
  // First destroys the namespaces of these serials, which must be all that it has; then removes its
  // bad ranges and its image. The caller has seen to it that none is enabled. ENOENT. EBUSY: it has
  // another namespace (also one that is being made), or one is a leg of a volume: nothing has
  // happened. Any other error: if the region is still listed, it is there, without the namespaces
  // that aren't; if not, it is gone for good, and its image goes with the next change of regions or
  // namespaces, or the next open.
  Result<void> destroy_region(const RegionRecord& region, const std::vector<uint64_t>& serials)
      PMEMD_EXCLUDES(mutex_);
  // How many regions were made or destroyed since it was opened; it grows before anything shows.
  uint64_t region_changes() const PMEMD_EXCLUDES(mutex_);

  // Durable when it returns, info block included. The first free extent that is large enough, or
  // the largest; the id is the lowest free one of the region. ENOENT: no such region. ENOSPC: no
  // free extent of that size (the message tells the largest), or the host disk is full. EINVAL:
  // size no multiple of 2 MiB or below kNamespaceSizeMin; align no power of two or below 2 MiB.
  Result<NamespaceRecord> create_namespace(const CreateNamespace& want) PMEMD_EXCLUDES(mutex_);

  // Deletes its metadata (inodes, extents, …) and zeroes its bytes, durably. The caller has seen to
  // it that it is not enabled. ENOENT. EBUSY: it is a leg of a volume. Any other error: if the
  // namespace is still listed, nothing has happened; if not, it is gone for good, and its space
  // comes back with the next namespace that is made or destroyed, or the next open.
  Result<void> destroy_namespace(const NamespaceRecord& record) PMEMD_EXCLUDES(mutex_);

  // --- volumes. By serial: a leg before what stands on it.
  std::vector<VolumeRecord> volumes() const PMEMD_EXCLUDES(mutex_);
  Result<VolumeRecord> find_volume(std::string_view name) const PMEMD_EXCLUDES(mutex_);  // ENOENT
  // The volume that a namespace or volume is a leg of; also one that is being made or destroyed.
  std::optional<VolumeRecord> volume_of(uint64_t leg) const PMEMD_EXCLUDES(mutex_);
  // The parts of namespaces that a range of a namespace or volume comes down to, through all
  // layers; of each namespace at most one.
  struct NamespaceRange {
    NamespaceRecord record;
    DataRange range;
  };
  std::vector<NamespaceRange> namespaces_under(uint64_t serial, DataRange range) const
      PMEMD_EXCLUDES(mutex_);
  // Whether a namespace or volume has more than its root directory.
  Result<bool> has_files(uint64_t serial) const;

  // Durable when it returns; what the legs were (empty file systems) is gone. The caller has seen
  // to it that none is enabled. EINVAL: as VolumeTable::make(), a leg named twice, or no fsdax.
  // ENOENT: no such leg. EBUSY: a leg of another volume. ENOTEMPTY: it has files. ENOSPC, EIO.
  Result<VolumeRecord> create_volume(VolumeType type, uint64_t chunk_bytes,
                                     const std::vector<uint64_t>& legs) PMEMD_EXCLUDES(mutex_);
  // Deletes its metadata and zeroes its legs, durably; they are free then. The caller has seen to
  // it that neither is enabled. ENOENT. EBUSY: it is a leg. Any other: as destroy_namespace().
  Result<void> destroy_volume(const VolumeRecord& record) PMEMD_EXCLUDES(mutex_);

  // Maps a namespace's range and verifies its info block. EIO: it doesn't hold together, or is bad
  // (message).
  Result<std::unique_ptr<MappedImage>> map_namespace(const NamespaceRecord& record)
      PMEMD_EXCLUDES(mutex_);

  // Which bytes of a region are bad; null: there is no such region. Shared, since whoever looks may
  // have it when the region goes.
  std::shared_ptr<MediaErrors> media_errors(uint32_t region) PMEMD_EXCLUDES(mutex_);
  std::shared_ptr<const MediaErrors> media_errors(uint32_t region) const PMEMD_EXCLUDES(mutex_);

  // How a namespace (or volume) behaves when its memory fails; gone with it. Without the database.
  NamespaceSettings settings(uint64_t serial) const { return settings_->get(serial); }
  // All of them or none; durable when it returns. EINVAL: no such setting or value. ENOSPC, EIO.
  Result<void> set_settings(uint64_t serial, const std::vector<SettingChange>& changes) {
    return settings_->set(serial, changes);
  }

  // Of a namespace or volume. False from enable to clean disable: after a crash, free space may
  // hold bytes that no extent knows of, and must be discarded before use. ENOENT.
  Result<bool> is_clean(uint64_t serial) const;
  // `checksum`: of the extents of what is clean (FileSystem::extents_checksum()), where it has
  // some. Durable when it returns. ENOENT.
  Result<void> set_clean(uint64_t serial, bool clean, std::optional<uint64_t> checksum = {});
  // None: not known, since it isn't clean, has no file system, or was last disabled by version 3.
  Result<std::optional<uint64_t>> extents_checksum(uint64_t serial) const;

 private:
  Pool(std::string path, UniqueFd lock, Mode mode);

  static Result<std::unique_ptr<Pool>> open_locked(std::string path, UniqueFd lock, Mode mode,
                                                   const OnUpgrade& on_upgrade = {});
  Result<void> load();
  Result<void> open_images() PMEMD_EXCLUDES(mutex_);
  Result<void> remove_half_made() PMEMD_EXCLUDES(mutex_);

  // Choose where it goes, and take that place with a label that is not live.
  Result<NamespaceRecord> reserve_namespace(const CreateNamespace& want) PMEMD_EXCLUDES(mutex_);
  Result<RegionRecord> reserve_region(uint64_t size, Reservation reservation,
                                      std::optional<uint64_t> base) PMEMD_EXCLUDES(mutex_);
  // The rest of creation.
  Result<void> make_region(const RegionRecord& region) PMEMD_EXCLUDES(mutex_);
  // Of destruction: nobody makes a namespace there from now on; takes a region off the list; for
  // what is not live, as erase_namespace() and erase_or_note().
  Result<void> close_region(const RegionRecord& region, const std::vector<uint64_t>& serials)
      PMEMD_EXCLUDES(mutex_);
  Result<void> empty_and_unlist(const RegionRecord& region, const std::vector<uint64_t>& serials)
      PMEMD_EXCLUDES(mutex_);
  Result<void> unlist_region(const RegionRecord& region) PMEMD_EXCLUDES(mutex_);
  Result<void> drop_region(const RegionRecord& region) PMEMD_EXCLUDES(mutex_);
  Result<void> drop_or_note(const RegionRecord& region) PMEMD_EXCLUDES(mutex_);
  Result<void> write_info_block(const NamespaceRecord& record) PMEMD_EXCLUDES(mutex_);
  Result<void> set_live(uint64_t serial, bool live);  // in the database; durable
  // For what is not live: zeroes the bytes, deletes the rows, gives the place back.
  Result<void> erase_namespace(const NamespaceRecord& record) PMEMD_EXCLUDES(mutex_);
  // The same; what can't be erased is noted, for finish_erasures().
  Result<void> erase_or_note(const NamespaceRecord& record) PMEMD_EXCLUDES(mutex_);
  void finish_erasures() PMEMD_EXCLUDES(mutex_);
  Result<void> delete_inodes(uint64_t serial);
  // The same of volumes. check_leg(): the name of what may become a leg.
  Result<std::string> check_leg(uint64_t serial) const PMEMD_REQUIRES(mutex_);
  Result<VolumeRecord> reserve_volume(VolumeType type, uint64_t chunk_bytes,
                                      const std::vector<uint64_t>& legs) PMEMD_EXCLUDES(mutex_);
  Result<void> make_volume(const VolumeRecord& record) PMEMD_EXCLUDES(mutex_);
  Result<void> zero_legs(const VolumeRecord& record) PMEMD_EXCLUDES(mutex_);
  Result<void> set_volume_live(uint64_t serial, bool live);
  Result<void> erase_volume(const VolumeRecord& record) PMEMD_EXCLUDES(mutex_);
  Result<void> erase_or_note(const VolumeRecord& record) PMEMD_EXCLUDES(mutex_);

  Result<std::unique_ptr<MappedImage>> map(uint32_t region, RegionRange range) const
      PMEMD_EXCLUDES(mutex_);
  // Null, if there is none.
  NamespaceLabel* find_label(uint64_t serial) PMEMD_REQUIRES(mutex_);

  // One statement with integer parameters as a transaction of its own; how many rows it changed.
  Result<int64_t> change(std::string_view sql, std::initializer_list<uint64_t> parameters);

  const std::string path_;
  const UniqueFd lock_;
  const Mode mode_;
  // Constant after load().
  std::unique_ptr<Database> database_;
  std::string uuid_;
  std::unique_ptr<SettingsTable> settings_;

  mutable Mutex mutex_;  // before the database's
  Labels labels_ PMEMD_GUARDED_BY(mutex_);
  std::vector<NamespaceRecord> half_erased_ PMEMD_GUARDED_BY(mutex_);  // not live
  std::vector<VolumeRecord> half_erased_volumes_ PMEMD_GUARDED_BY(mutex_);
  std::vector<RegionRecord> half_dropped_ PMEMD_GUARDED_BY(mutex_);
  std::set<uint32_t> closed_ PMEMD_GUARDED_BY(mutex_);  // regions that are being destroyed
  uint64_t region_changes_ PMEMD_GUARDED_BY(mutex_) = 0;
  // Of live regions. Shared: used without the lock, also while the region is being destroyed.
  std::map<uint32_t, std::shared_ptr<const ImageFile>> images_ PMEMD_GUARDED_BY(mutex_);
  std::map<uint32_t, std::shared_ptr<MediaErrors>> media_errors_ PMEMD_GUARDED_BY(mutex_);
};

}  // namespace pmemd
