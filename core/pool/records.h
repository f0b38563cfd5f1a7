// What a pool is made of: regions, namespaces and volumes, and how they are called.
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
// Whether what is stored is there after the daemon's end.
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
  uint32_t id = 0;      // namespace<region>.<id>; the lowest free one is taken
  uint64_t serial = 0;  // never reused in this pool, from 1; the upper bits of its inode numbers
  std::string uuid;
  NamespaceMode mode = NamespaceMode::kFsDax;
  RegionRange range;  // in the region, metadata included; 2 MiB-aligned
  uint64_t align = kNamespaceMetadataSize;

  std::string name() const;  // "namespace0.1"
  // What the mount shows: "pmem0" (id 0) or "pmem0.1"; "dax0.1"; "hmm0.1"; "p2p0.1".
  std::string device_name() const;
  uint64_t data_bytes() const { return range.length() - kNamespaceMetadataSize; }
  // Where a part of the data area lies in the region; and the part of a region's range that lies in
  // the data area (empty: none does).
  RegionRange in_region(DataRange data) const {
    assert(data.begin <= data.end && data.end <= data_bytes());
    return RegionRange::sized(data_begin() + data.begin, data.length());
  }
  DataRange in_data(RegionRange part) const {
    part = part.intersect({data_begin(), range.end});
    if (part.empty()) return {};
    return DataRange::sized(part.begin - data_begin(), part.length());
  }

 private:
  uint64_t data_begin() const { return range.begin + kNamespaceMetadataSize; }
};

// Several fsdax namespaces or volumes as one device, with a file system of its own.
struct VolumeRecord {
  uint32_t id = 0;      // volume<id>; the lowest free one is taken
  uint64_t serial = 0;  // one counter with namespaces: above those of its legs
  std::string uuid;
  std::vector<uint64_t> legs;  // their serials, in order
  VolumeTable table;

  std::string name() const;         // "volume0"
  std::string device_name() const;  // what the mount shows: "vol0"
  uint64_t data_bytes() const { return table.size_bytes(); }
};

// What is wrong with a pool; empty when it holds together. `check` shows it.
struct Finding {
  std::string object;   // "namespace0.0", "pool.db", "inode 1099511627777"
  std::string problem;  // in words
};

}  // namespace pmemd
