// The labels of a pool: the regions, namespaces and volumes in its database.
//
// Thread contract: values; load_labels() and read_clean() take the database's mutex, take_serial()
// and insert_*() need it held, by a transaction that has begun.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/database/database.h"
#include "core/pagemap/pfn.h"
#include "core/pool/records.h"
#include "core/pool/schema.h"

namespace pmemd {

// Not live: it is being made or destroyed. It takes up its space, but is shown to nobody.
template <class Record>
struct Label {
  Record record;
  bool live = false;
};
using RegionLabel = Label<RegionRecord>;
using NamespaceLabel = Label<NamespaceRecord>;
using VolumeLabel = Label<VolumeRecord>;

struct Labels {
  std::string pool_uuid;
  uint64_t next_serial = kSerialEnd;       // serials from here on were unused when it was read
  std::vector<RegionLabel> regions;        // by id
  std::vector<NamespaceLabel> namespaces;  // by region, then id
  std::vector<VolumeLabel> volumes;        // by serial: a leg before what stands on it

  // Null if there is none with that id.
  const RegionLabel* find_region(uint32_t id) const;
  // The free extents of a region, in order.
  std::vector<RegionRange> free_extents(const RegionRecord& region) const;
  // The same for serials.
  const NamespaceLabel* find_namespace(uint64_t serial) const;
  const VolumeLabel* find_volume(uint64_t serial) const;
  // The volume, live or not, that a namespace or volume is a leg of.
  const VolumeLabel* volume_of(uint64_t leg) const;
  // The data area of a namespace or volume; 0: there is none.
  uint64_t data_bytes(uint64_t serial) const;
};

// Regions without a requested base go to a multiple of kRegionBaseAlign, from here on.
inline constexpr uint64_t kFirstRegionBase = 4 * kGiB;
inline constexpr uint64_t kRegionBaseAlign = kGiB;

// EIO: unreadable, or a value that its column doesn't accept (core/pool/columns.h).
Result<Labels> load_labels(Database& database);

// Whether a namespace or volume is marked clean. ENOENT.
Result<bool> read_clean(Database& database, uint64_t serial);
// The checksum of its extents when it was disabled; nothing: not known.
Result<std::optional<uint64_t>> read_extents_checksum(Database& database, uint64_t serial);

// Takes a serial that no namespace and no volume ever had. ENOSPC: none is left.
Result<uint64_t> take_serial(Database& database);
Result<void> insert_region(Database& database, const RegionLabel& label);
Result<void> insert_namespace(Database& database, const NamespaceLabel& label);
Result<void> insert_volume(Database& database, const VolumeLabel& label);  // its legs, too

// Returns what is wrong with labels: sizes, alignment, bounds, overlaps, names, serials and legs
// used twice, and what lies in or on something that is not live.
std::vector<Finding> check_labels(const Labels& labels);
// Serials that may be given out twice: harmless to a reader, but nobody may write such a pool.
std::vector<Finding> check_next_serial(const Labels& labels);

}  // namespace pmemd
