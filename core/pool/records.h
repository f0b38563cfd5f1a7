// The parts of a pool: regions, namespaces and volumes, and their names.
//
// Thread contract: values.
#pragma once

#include <array>
#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/base/units.h"
#include "core/image/image.h"
#include "core/pool/volume_table.h"
#include "core/range/range.h"

namespace pmemd {

inline constexpr uint64_t kNamespaceMetadataSize = 2 * kMiB;  // before a namespace's data
inline constexpr uint64_t kNamespaceSizeMin = kNamespaceMetadataSize + kSubsectionSize;

std::string make_uuid();  // a new one, random

enum class NamespaceMode {
  kFsDax,    // a file system
  kDevDax,   // one file
  kPrivate,  // one file of system memory, whose pages migrate to the device
  kP2p,      // one file, from which buffers are taken
};
inline constexpr std::array kNamespaceModes = {NamespaceMode::kFsDax, NamespaceMode::kDevDax,
                                               NamespaceMode::kPrivate, NamespaceMode::kP2p};
std::string_view to_string(NamespaceMode mode);  // "fsdax", "devdax", "private", "p2p"
// Whether stored data survives the daemon.
constexpr bool is_persistent(NamespaceMode mode) {
  return mode == NamespaceMode::kFsDax || mode == NamespaceMode::kDevDax;
}
Result<NamespaceMode> parse_namespace_mode(std::string_view text);  // EINVAL

struct RegionRecord {
  uint32_t id = 0;  // region<id>
  uint64_t size_bytes = 0;
  uint64_t base_address = 0;  // emulated physical address of its first byte
  Reservation reservation = Reservation::kReserved;

  std::string name() const;  // "region0"
};

struct NamespaceRecord {
  uint32_t region = 0;
  uint32_t id = 0;      // namespace<region>.<id>; a new one takes the lowest free id
  uint64_t serial = 0;  // never reused in this pool, from 1; the upper bits of its inode numbers
  std::string uuid;
  NamespaceMode mode = NamespaceMode::kFsDax;
  RegionRange range;  // in the region, metadata included; 2 MiB-aligned
  uint64_t align = kNamespaceMetadataSize;

  std::string name() const;  // "namespace0.1"
  // Its name in the mount: "pmem0" (id 0) or "pmem0.1"; "dax0.1"; "hmm0.1"; "p2p0.1".
  std::string device_name() const;
  uint64_t data_bytes() const { return range.length() - kNamespaceMetadataSize; }
  // Translates a part of the data area to the region; and a region's range to the part of the data
  // area in it (empty: none is).
  RegionRange in_region(DataRange data) const {
    assert(data.begin <= data.end && data.end <= data_bytes());
    return RegionRange::sized(data_begin() + data.begin, data.length());
  }
  DataRange in_data(RegionRange part) const {
    part = part.intersect({data_begin(), range.end});
    if (part.empty()) return {};
    return DataRange::sized(part.begin - data_begin(), part.length());
  }
  // The same for each of several ranges, in their order.
  std::vector<RegionRange> all_in_region(const std::vector<DataRange>& data) const;
  std::vector<DataRange> all_in_data(const std::vector<RegionRange>& parts) const;

 private:
  uint64_t data_begin() const { return range.begin + kNamespaceMetadataSize; }
};

// Several fsdax namespaces or volumes as one device, with a file system of its own.
struct VolumeRecord {
  uint32_t id = 0;      // volume<id>; a new one takes the lowest free id
  uint64_t serial = 0;  // from the same counter as namespaces': above those of its legs
  std::string uuid;
  std::vector<uint64_t> legs;  // their serials, in order
  VolumeTable table;

  std::string name() const;         // "volume0"
  std::string device_name() const;  // in the mount: "vol0"
  uint64_t data_bytes() const { return table.size_bytes(); }
};

// One thing that is wrong with a pool, as `check` shows it.
struct Finding {
  std::string object;   // "namespace0.0", "pool.db", "inode 1099511627777"
  std::string problem;  // in words
};

}  // namespace pmemd
