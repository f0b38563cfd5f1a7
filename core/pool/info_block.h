// The info block of a namespace: repeats, in the image itself, what the labels say in pool.db.
//
// It lies kInfoBlockOffset bytes into the namespace, so that labels and images that don't belong
// together are detected before anything is written. docs/pool-format.md has the layout.
//
// Invariants:
//  1. decode_info_block() takes any bytes: it returns a block or an error, and reads nothing else.
//  2. decode(encode(block)) == block; a block with any byte changed is refused.
//
// Thread contract: values and pure functions.
// Models: drivers/nvdimm/pfn.h struct nd_pfn_sb, pfn_devs.c nd_pfn_validate() @v6.12; differs: the
// layout is ours.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/base/error.h"
#include "core/pool/records.h"

namespace pmemd {

inline constexpr uint64_t kInfoBlockOffset = 4096;
inline constexpr uint64_t kInfoBlockSize = 4096;
inline constexpr uint32_t kInfoBlockVersion = 1;

struct InfoBlock {
  std::string pool_uuid;  // as text
  std::string namespace_uuid;
  NamespaceMode mode = NamespaceMode::kFsDax;
  uint64_t start = 0;        // bytes in the region
  uint64_t size = 0;         // bytes, metadata included
  uint64_t data_offset = 0;  // bytes from start
  uint64_t align = 0;

  bool operator==(const InfoBlock&) const = default;
};

// The block that a namespace must have.
InfoBlock make_info_block(const std::string& pool_uuid, const NamespaceRecord& record);

// The uuids must be valid (asserted).
std::array<std::byte, kInfoBlockSize> encode_info_block(const InfoBlock& block);

// EIO: not an info block (its size or magic), or a damaged one. ENOTSUP: of a newer version.
Result<InfoBlock> decode_info_block(std::span<const std::byte> bytes);

}  // namespace pmemd
