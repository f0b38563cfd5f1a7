#include "core/filesystem/superblock.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

namespace pmemd {
namespace {

constexpr std::string_view kMagic = "PMEMD_FSDAX";

// docs/pool-format.md; the rest of the block is zeros.
struct Superblock {
  std::array<char, 16> magic{};
  uint64_t version = 1;
  uint64_t serial = 0;
  uint64_t data_bytes = 0;

  bool operator==(const Superblock&) const = default;
};
static_assert(sizeof(Superblock) == 40);

Superblock make_superblock(const Media& media, uint64_t serial) {
  Superblock block{.serial = serial, .data_bytes = media.size_bytes()};
  std::ranges::copy(kMagic, block.magic.begin());
  return block;
}

}  // namespace

Result<void> prepare_superblock(Media& media) {
  const DataRange range = superblock_range(media.size_bytes());
  if (media.bad(range).empty()) return {};
  auto zeroed = media.zero(range);
  if (zeroed.err() != EIO) return zeroed;
  return fail(EIO, "the superblock's memory is bad, and can't be cleared",
              "pmemctl configure NAME clearable=yes");
}

Result<void> verify_superblock(Media& media, uint64_t serial,
                               const std::vector<DataRange>& elsewhere) {
  const DataRange range = superblock_range(media.size_bytes());
  std::array<std::byte, kPageSize> bytes{};
  auto read = media.read(range.begin, bytes);
  if (read.err() == EIO) {
    return fail(EUCLEAN, "the superblock can't be read",
                "clear its error, or on-metadata=degraded");
  }
  PMEMD_TRY(std::move(read));
  std::array<std::byte, kPageSize> wanted{};
  const Superblock block = make_superblock(media, serial);
  std::memcpy(wanted.data(), &block, sizeof(block));
  if (bytes == wanted) return {};
  if (std::ranges::any_of(bytes, [](std::byte byte) { return byte != std::byte{0}; })) {
    return fail(EUCLEAN, "the superblock is another file system's", "restore it from a backup");
  }
  for (const DataRange& page : elsewhere) {
    if (media.read(page.begin, bytes) && bytes == wanted) {
      return fail(EUCLEAN, "the superblock is in another place",
                  "a volume's legs are in another order: restore pool.db from a backup");
    }
  }
  return media.write(range.begin, wanted, Media::Writer::kProgram);
}

}  // namespace pmemd
