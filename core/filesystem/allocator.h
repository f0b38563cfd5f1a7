// The free space of a data area, and its reservations.
//
// The area is cut into chunks of 2 MiB. Each 2 MiB-aligned part of a large file gets a chunk of its
// own, with its blocks at the same place in it (file offset and data offset congruent), so that a
// mapping of it could use huge pages: the whole chunk is reserved at the part's first block, and
// only blocks that are asked for are taken. Small files share chunks, the fullest one with room
// first, so that whole chunks stay whole. Reservations are a preference, not a right: when nothing
// else is left they are broken, and space runs out only when the last block is taken.
//
// Invariants:
//  1. Every block is free in exactly one place (a whole chunk, or a partial chunk's bitmap), or
//     taken.
//  2. A partial chunk has a free and a taken block, or is reserved.
//  3. A chunk is reserved for at most one part of a file, a part has at most one chunk.
//
// Thread contract: none of its own; the owner's lock guards it.
#pragma once

#include <bitset>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/units.h"
#include "core/filesystem/extent.h"
#include "core/range/range.h"
#include "core/range/range_set.h"

namespace pmemd {

class Allocator {
 public:
  static constexpr uint64_t kChunkSize = kSubsectionSize;
  static constexpr uint64_t kBlocksPerChunk = kChunkSize / kPageSize;

  // An area of `size` bytes (whole chunks), all free.
  explicit Allocator(uint64_t size);

  // With `used` taken (any order). EIO: they overlap, leave the area, or aren't whole blocks.
  static Result<Allocator> with_used(uint64_t size, std::vector<DataRange> used);
  // Checks whether it could be made; sorts `used`. EIO: the same.
  static Result<void> check_used(uint64_t size, std::vector<DataRange>& used);

  uint64_t size_bytes() const { return size_; }
  uint64_t free_bytes() const { return free_blocks_ * kPageSize; }  // reserved ones included

  // Takes space for the blocks of `hole` (whole blocks) of file `ino`; appends the pieces, in
  // order. `large`: place them congruently. `goal`: the best place for the first.
  // False: took nothing, because less is free than the hole needs.
  bool allocate(uint64_t ino, FileRange hole, bool large, std::optional<uint64_t> goal,
                std::vector<Extent>& pieces);
  void free(DataRange range);

  // Gives back what was reserved for a file but not taken.
  void drop_reservations(uint64_t ino);

  // The free ranges, merged, in order.
  void for_each_free(const std::function<void(DataRange)>& visit) const;

 private:
  struct ChunkSpace {};  // offsets that count chunks
  using ChunkRange = Range<ChunkSpace>;
  using Part = std::pair<uint64_t, uint64_t>;  // inode number, file offset in chunks

  struct Chunk {
    std::bitset<kBlocksPerChunk> free;
    std::optional<Part> owner;  // the part it is reserved for
  };
  // Blocks of one chunk: [first, first + count).
  struct Run {
    uint64_t first = 0;
    uint64_t count = 0;
  };

  static Run run_at(const Chunk& chunk, uint64_t first, uint64_t most);
  static Run longest_run(const Chunk& chunk, uint64_t enough);

  // Each takes a run of at most `length` bytes for the blocks at `file_offset`, or nothing.
  std::optional<DataRange> take_congruent(const Part& part, uint64_t file_offset, uint64_t length,
                                          std::optional<uint64_t> goal);
  std::optional<DataRange> take_packed(uint64_t length, std::optional<uint64_t> goal);
  std::optional<DataRange> take_at(uint64_t data_offset, uint64_t length);
  std::optional<DataRange> take_from_fitting(uint64_t blocks);

  // A whole chunk to open: the one at `goal`, else the lowest.
  std::optional<uint64_t> choose_whole(std::optional<uint64_t> goal) const;
  void open_whole(uint64_t index, std::optional<Part> owner);
  DataRange take_whole(uint64_t index, uint64_t count);
  DataRange take(uint64_t index, Run run);
  void give(uint64_t index, Run run);
  void break_reservation(std::map<Part, uint64_t>::iterator it);
  // Keep `by_room_` in step with a partial chunk's room; call these around each change of it.
  void unlist(uint64_t index, const Chunk& chunk);
  void relist(uint64_t index, const Chunk& chunk);

  uint64_t size_;
  uint64_t free_blocks_;
  RangeSet<ChunkSpace> whole_;                       // chunks that are free and unreserved
  std::map<uint64_t, Chunk> partial_;                // by chunk number; what is in neither is taken
  std::set<std::pair<uint64_t, uint64_t>> by_room_;  // (free blocks, chunk) of unreserved partials
  std::map<Part, uint64_t> reserved_;                // → chunk
};

}  // namespace pmemd
