// A pool: a directory with metadata (pool.db) and one image per region (region<N>.img).
//
// Regions have an emulated base address, which gives meaning to pfns. Namespaces are 2 MiB-aligned
// parts of a region; each begins with 2 MiB of metadata (an info block: core/pool/info_block.h)
// and never overlaps another. A volume combines namespaces into one device. docs/pool-format.md
// has the layout.
//
// Invariants:
//  1. At most one process has a pool open for writing (a lock on <pool>/lock).
//  2. After a kill or a power loss at any point, each change is there completely or not at all: a
//     label is not live while its region or namespace is being made or destroyed, and the next open
//     cleans up. A change that failed leaves the pool as it was, files included, except
//     destroy_…().
//  3. A pool whose version is unknown is refused and not touched.
//  4. Space that no namespace covers reads as zeros: a range is free only when it has been zeroed.
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
#include <tuple>
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
  std::optional<uint32_t> region = {};  // if not given, any with room
  NamespaceMode mode = NamespaceMode::kFsDax;
  std::optional<uint64_t> size_bytes =
      {};  // metadata included; the largest free extent, if not given
  uint64_t align = kNamespaceMetadataSize;  // of its start in the region
};

class Pool {
 public:
  // Creates the directory (its parents must exist), pool.db, region0 of `region_size` and, on it,
  // an fsdax namespace0.0 of the whole region. An existing directory must be empty, or hold what an
  // interrupted creation left. EEXIST: a pool is there. ENOTEMPTY: something else is. ENOSPC;
  // EINVAL: size too small or not a multiple of 2 MiB. EPERM: somebody else could change the
  // directory or the path to it (core/base/safe_path.h). Leaves nothing behind on failure, but
  // directories above it that were missing.
  static Result<std::unique_ptr<Pool>> create(const std::string& path, uint64_t region_size,
                                              Reservation reservation);

  enum class Mode { kReadWrite, kReadOnly };
  // Called when a pool has been upgraded, even if the rest of the open fails.
  using OnUpgrade = std::function<void(const std::string& pool, int32_t from)>;
  // Read-write finishes what a kill interrupted: it removes half-made and half-destroyed regions
  // and namespaces, and upgrades a pool of an older version. Read-only does neither, and changes
  // nothing in the pool. ENOENT: no pool there. EBUSY: another daemon has it (its pid in the
  // message). ENOTSUP: its version is newer than ours. EIO: pool.db corrupt, an image missing or
  // short. EPERM: users other than root and ours could change the directory, the path to it, or a
  // file of the pool (core/base/safe_path.h), also when opened read-only. ELOOP: a file is a link.
  static Result<std::unique_ptr<Pool>> open(const std::string& path, Mode mode,
                                            const OnUpgrade& on_upgrade = {});
  static bool exists(const std::string& path);  // whether there is a pool.db
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

  // Free bytes of a region: in total, and in the largest contiguous extent.
  struct Available {
    uint64_t total_bytes = 0;
    uint64_t max_extent_bytes = 0;
  };
  Available available(uint32_t region) const PMEMD_EXCLUDES(mutex_);

  // Durable when it returns. Takes the lowest free id. `base`: its emulated physical address;
  // chosen if not given. ENOSPC: the host disk or the emulated address space is full. EINVAL: size
  // or base. EEXIST: it would overlap another region, or a file that belongs to no region has the
  // new image's name.
  Result<RegionRecord> create_region(uint64_t size, Reservation reservation,
                                     std::optional<uint64_t> base = {}) PMEMD_EXCLUDES(mutex_);
  // First destroys the namespaces with these serials, which must be all that it has; then removes
  // its bad ranges and its image. The caller ensures that none is enabled. ENOENT. EBUSY: it has
  // another namespace (even one that is being made), or one is a leg of a volume: nothing has
  // happened. After any other error: if the region is still listed, it exists, with the namespaces
  // that are still listed; if not, it is gone for good, and its image is removed by the next change
  // of regions or namespaces, or the next open.
  Result<void> destroy_region(const RegionRecord& region, const std::vector<uint64_t>& serials)
      PMEMD_EXCLUDES(mutex_);
  // How many regions were made or destroyed since the pool was opened; grows before a change shows.
  uint64_t region_changes() const PMEMD_EXCLUDES(mutex_);

  // Durable when it returns, info block included. Takes the first free extent that is large enough,
  // or the largest, and the region's lowest free id. ENOENT: no such region. ENOSPC: no free extent
  // of that size (the message has the largest), or the host disk is full. EINVAL: size not a
  // multiple of 2 MiB or below kNamespaceSizeMin; align not a power of two or below 2 MiB.
  Result<NamespaceRecord> create_namespace(const CreateNamespace& want) PMEMD_EXCLUDES(mutex_);

  // Deletes its metadata (inodes, extents, …) and zeroes its bytes, durably. The caller ensures
  // that it is not enabled. ENOENT. EBUSY: it is a leg of a volume. After any other error: if the
  // namespace is still listed, nothing has happened; if not, it is gone for good, and its space
  // becomes free with the next namespace that is made or destroyed, or the next open.
  Result<void> destroy_namespace(const NamespaceRecord& record) PMEMD_EXCLUDES(mutex_);

  // --- volumes. By serial: a leg before what stands on it.
  std::vector<VolumeRecord> volumes() const PMEMD_EXCLUDES(mutex_);
  Result<VolumeRecord> find_volume(std::string_view name) const PMEMD_EXCLUDES(mutex_);  // ENOENT
  // The volume that a namespace or volume is a leg of, even one that is being made or destroyed.
  std::optional<VolumeRecord> volume_of(uint64_t leg) const PMEMD_EXCLUDES(mutex_);
  // The parts of namespaces that a range of a namespace or volume maps to, through all layers; at
  // most one of each namespace.
  struct NamespaceRange {
    NamespaceRecord record;
    DataRange range;
  };
  std::vector<NamespaceRange> namespaces_under(uint64_t serial, DataRange range) const
      PMEMD_EXCLUDES(mutex_);
  // Whether a namespace or volume has more than its root directory.
  Result<bool> has_files(uint64_t serial) const;

  // Durable when it returns; the legs' own (empty) file systems are gone. The caller ensures that
  // no leg is enabled. EINVAL: as VolumeTable::make(), a leg named twice, or not fsdax. ENOENT: no
  // such leg. EBUSY: a leg of another volume. ENOTEMPTY: it has files. ENOSPC, EIO.
  Result<VolumeRecord> create_volume(VolumeType type, uint64_t chunk_bytes,
                                     const std::vector<uint64_t>& legs) PMEMD_EXCLUDES(mutex_);
  // Deletes its metadata and zeroes its legs, durably; they are then free. The caller ensures that
  // neither it nor a leg is enabled. ENOENT. EBUSY: it is a leg. Others as destroy_namespace().
  Result<void> destroy_volume(const VolumeRecord& record) PMEMD_EXCLUDES(mutex_);

  // Maps a namespace's range and verifies its info block. EIO: the block is inconsistent or bad
  // memory (see the message).
  Result<std::unique_ptr<MappedImage>> map_namespace(const NamespaceRecord& record)
      PMEMD_EXCLUDES(mutex_);

  // The bad bytes of a region; null: there is no such region. Shared, because a reader may still
  // have it when the region is destroyed.
  std::shared_ptr<MediaErrors> media_errors(uint32_t region) PMEMD_EXCLUDES(mutex_);
  std::shared_ptr<const MediaErrors> media_errors(uint32_t region) const PMEMD_EXCLUDES(mutex_);

  // How a namespace (or volume) behaves when its memory fails; ends with it. Doesn't use the
  // database.
  NamespaceSettings settings(uint64_t serial) const { return settings_->get(serial); }
  // Sets all of them or none; durable when it returns. EINVAL: no such setting or value. ENOSPC,
  // EIO.
  Result<void> set_settings(uint64_t serial, const std::vector<SettingChange>& changes) {
    return settings_->set(serial, changes);
  }

  // Whether a namespace or volume is clean. False from enable to clean disable: after a crash, free
  // space may hold bytes that no extent records, and must be discarded before use. ENOENT.
  Result<bool> is_clean(uint64_t serial) const;
  // `checksum`: of the extents of a clean file system (FileSystem::extents_checksum()). Durable
  // when it returns. ENOENT.
  Result<void> set_clean(uint64_t serial, bool clean, std::optional<uint64_t> checksum = {});
  // Nothing: not known, because it isn't clean, has no file system, or was last disabled by version
  // 3.
  Result<std::optional<uint64_t>> extents_checksum(uint64_t serial) const;

 private:
  Pool(std::string path, UniqueFd lock, Mode mode);

  static Result<std::unique_ptr<Pool>> open_locked(std::string path, UniqueFd lock, Mode mode,
                                                   const OnUpgrade& on_upgrade = {});
  Result<void> load();
  Result<void> open_images() PMEMD_EXCLUDES(mutex_);
  void erase_half_made() PMEMD_EXCLUDES(mutex_);

  // The steps that all kinds of objects have in common: core/pool/life.h.
  template <class Record>
  class Life;
  // What each kind does to make an object whose label is reserved, up to Life::show(), and to erase
  // one whose label is not live, up to Life::delete_label().
  Result<void> make(const RegionRecord& region) PMEMD_EXCLUDES(mutex_);
  Result<void> make(const NamespaceRecord& record) PMEMD_EXCLUDES(mutex_);
  Result<void> make(const VolumeRecord& record) PMEMD_EXCLUDES(mutex_);
  Result<void> erase(const RegionRecord& region) PMEMD_EXCLUDES(mutex_);
  Result<void> erase(const NamespaceRecord& record) PMEMD_EXCLUDES(mutex_);
  Result<void> erase(const VolumeRecord& record) PMEMD_EXCLUDES(mutex_);
  // Tries again to erase what could not be erased.
  void finish_erasures() PMEMD_EXCLUDES(mutex_);

  // Choose the space, and take it with a label that is not live.
  Result<NamespaceRecord> reserve_namespace(const CreateNamespace& want) PMEMD_EXCLUDES(mutex_);
  Result<RegionRecord> reserve_region(uint64_t size, Reservation reservation,
                                      std::optional<uint64_t> base) PMEMD_EXCLUDES(mutex_);
  Result<VolumeRecord> reserve_volume(VolumeType type, uint64_t chunk_bytes,
                                      const std::vector<uint64_t>& legs) PMEMD_EXCLUDES(mutex_);
  // The steps of a region's destruction: no namespace can be made there from now on; the region
  // leaves the list.
  Result<void> close_region(const RegionRecord& region, const std::vector<uint64_t>& serials)
      PMEMD_EXCLUDES(mutex_);
  Result<void> empty_and_unlist(const RegionRecord& region, const std::vector<uint64_t>& serials)
      PMEMD_EXCLUDES(mutex_);
  Result<void> unlist_region(const RegionRecord& region) PMEMD_EXCLUDES(mutex_);
  Result<void> write_info_block(const NamespaceRecord& record) PMEMD_EXCLUDES(mutex_);
  Result<void> delete_inodes(uint64_t serial);
  // Returns the name of an object that may become a leg.
  Result<std::string> check_leg(uint64_t serial) const PMEMD_REQUIRES(mutex_);
  Result<void> zero_legs(const VolumeRecord& record) PMEMD_EXCLUDES(mutex_);

  Result<std::unique_ptr<MappedImage>> map(uint32_t region, RegionRange range) const
      PMEMD_EXCLUDES(mutex_);

  // Runs one statement with integer parameters as a transaction; returns how many rows it changed.
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
  // Not live, and nobody is erasing them. In the order to erase them: each before what it lies on.
  std::tuple<std::vector<VolumeRecord>, std::vector<NamespaceRecord>, std::vector<RegionRecord>>
      half_erased_ PMEMD_GUARDED_BY(mutex_);
  std::set<uint32_t> closed_ PMEMD_GUARDED_BY(mutex_);  // regions that are being destroyed
  uint64_t region_changes_ PMEMD_GUARDED_BY(mutex_) = 0;
  // Of live regions. Shared: used without the lock, even while the region is being destroyed.
  std::map<uint32_t, std::shared_ptr<const ImageFile>> images_ PMEMD_GUARDED_BY(mutex_);
  std::map<uint32_t, std::shared_ptr<MediaErrors>> media_errors_ PMEMD_GUARDED_BY(mutex_);
};

}  // namespace pmemd
