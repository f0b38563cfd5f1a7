#include "core/filesystem/allocator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <iterator>

#include "core/base/memory.h"
#include "core/pool/columns.h"

namespace pmemd {
namespace {

// How many chunks with room are searched for a long enough run, before a whole chunk is opened.
constexpr int kCandidates = 8;

uint64_t block_in_chunk(uint64_t offset) { return (offset % Allocator::kChunkSize) / kPageSize; }

}  // namespace

Allocator::Allocator(uint64_t size) : size_(size), free_blocks_(size / kPageSize) {
  assert(is_aligned(size, kChunkSize));
  whole_.insert({0, size / kChunkSize});
}

Result<void> Allocator::check_used(uint64_t size, std::vector<DataRange>& used) {
  std::sort(used.begin(), used.end());
  uint64_t end = 0;
  for (const DataRange& range : used) {
    if (range.empty() || range.end > size || !is_aligned(range.begin | range.end, kPageSize)) {
      return fail(EIO,
                  fmt::format("extent at {:#x}, {:#x} bytes: not whole blocks of the data area",
                              range.begin, range.length()),
                  kDamagedHint);
    }
    if (range.begin < end) {
      return fail(EIO,
                  fmt::format("extent at {:#x}, {:#x} bytes: overlaps the one before it",
                              range.begin, range.length()),
                  kDamagedHint);
    }
    end = range.end;
  }
  return {};
}

Result<Allocator> Allocator::with_used(uint64_t size, std::vector<DataRange> used) {
  PMEMD_TRY(check_used(size, used));
  Allocator allocator(size);
  for (const DataRange& range : used) {
    for (DataRange rest = range; !rest.empty();) {
      if (const uint64_t chunks = rest.length() / kChunkSize;
          chunks > 0 && is_aligned(rest.begin, kChunkSize)) {
        rest.begin = allocator.take_whole(rest.begin / kChunkSize, chunks).end;
        continue;
      }
      const auto taken = allocator.take_at(rest.begin, rest.length());
      assert(taken);
      rest.begin = taken->end;
    }
  }
  return allocator;
}

Allocator::Run Allocator::run_at(const Chunk& chunk, uint64_t first, uint64_t most) {
  uint64_t count = 0;
  while (count < most && first + count < kBlocksPerChunk && chunk.free[first + count]) ++count;
  return {first, count};
}

// The first run of at least `enough` blocks, cut to it; else the longest.
Allocator::Run Allocator::longest_run(const Chunk& chunk, uint64_t enough) {
  Run best;
  for (uint64_t first = 0; first < kBlocksPerChunk;) {
    const Run run = run_at(chunk, first, enough);
    if (run.count > best.count) best = run;
    if (best.count == enough) break;
    first += run.count + 1;
  }
  return best;
}

bool Allocator::allocate(uint64_t ino, FileRange hole, bool large, std::optional<uint64_t> goal,
                         std::vector<Extent>& pieces) {
  assert(is_aligned(hole.begin | hole.end, kPageSize));
  const MustAllocate whole;
  if (hole.length() / kPageSize > free_blocks_) return false;
  while (!hole.empty()) {
    const uint64_t file_chunk = hole.begin / kChunkSize;
    const uint64_t length = std::min(hole.end, (file_chunk + 1) * kChunkSize) - hole.begin;
    std::optional<DataRange> taken;
    if (large) taken = take_congruent({ino, file_chunk}, hole.begin, length, goal);
    if (!taken) taken = take_packed(length, goal);
    assert(taken);  // blocks are free, so some can be taken
    pieces.push_back({hole.begin, taken->begin, taken->length()});
    hole.begin += taken->length();
    goal = taken->end;
  }
  return true;
}

std::optional<DataRange> Allocator::take_congruent(const Part& part, uint64_t file_offset,
                                                   uint64_t length, std::optional<uint64_t> goal) {
  const uint64_t first = block_in_chunk(file_offset);
  const uint64_t most = length / kPageSize;
  if (const auto it = reserved_.find(part); it != reserved_.end()) {
    const uint64_t index = it->second;
    const Run run = run_at(partial_.at(index), first, most);
    if (run.count == 0) return std::nullopt;  // its old blocks are still being freed
    return take(index, run);
  }
  // A chunk that an earlier life of this file started.
  if (goal && first != 0 && block_in_chunk(*goal) == first) {
    if (partial_.contains(*goal / kChunkSize)) return take_at(*goal, length);
  }
  const auto index = choose_whole(goal && block_in_chunk(*goal) == first ? goal : std::nullopt);
  if (!index) return std::nullopt;
  if (most == kBlocksPerChunk) return take_whole(*index, 1);
  open_whole(*index, part);
  return take(*index, {first, most});
}

std::optional<DataRange> Allocator::take_packed(uint64_t length, std::optional<uint64_t> goal) {
  const uint64_t most = length / kPageSize;
  if (goal && partial_.contains(*goal / kChunkSize)) {
    if (const auto taken = take_at(*goal, length)) return taken;
  }
  if (const auto taken = take_from_fitting(most)) return taken;
  if (const auto index = choose_whole(std::nullopt)) {
    open_whole(*index, std::nullopt);
    return take(*index, {0, most});
  }
  if (by_room_.empty()) {
    if (reserved_.empty()) return std::nullopt;
    break_reservation(reserved_.begin());
    return take_packed(length, std::nullopt);
  }
  const uint64_t index = by_room_.rbegin()->second;
  return take(index, longest_run(partial_.at(index), most));
}

// The run at exactly `data_offset`, unless it is reserved for somebody.
std::optional<DataRange> Allocator::take_at(uint64_t data_offset, uint64_t length) {
  const uint64_t index = data_offset / kChunkSize;
  const uint64_t first = block_in_chunk(data_offset);
  const uint64_t most = std::min(length / kPageSize, kBlocksPerChunk - first);
  if (whole_.contains({index, index + 1})) {
    open_whole(index, std::nullopt);
    return take(index, {first, most});
  }
  const auto it = partial_.find(index);
  if (it == partial_.end() || it->second.owner) return std::nullopt;
  const Run run = run_at(it->second, first, most);
  if (run.count == 0) return std::nullopt;
  return take(index, run);
}

// The fullest chunk that has a run of all `blocks`.
std::optional<DataRange> Allocator::take_from_fitting(uint64_t blocks) {
  auto it = by_room_.lower_bound({blocks, 0});
  for (int tries = 0; it != by_room_.end() && tries < kCandidates; ++it, ++tries) {
    const Run run = longest_run(partial_.at(it->second), blocks);
    if (run.count == blocks) return take(it->second, run);
  }
  return std::nullopt;
}

std::optional<uint64_t> Allocator::choose_whole(std::optional<uint64_t> goal) const {
  if (goal) {
    const uint64_t index = *goal / kChunkSize;
    if (whole_.contains({index, index + 1})) return index;
  }
  return whole_.first();
}

void Allocator::open_whole(uint64_t index, std::optional<Part> owner) {
  whole_.erase({index, index + 1});
  Chunk& chunk = partial_[index];
  chunk.free.set();
  chunk.owner = owner;
  if (owner) reserved_.emplace(*owner, index);
  relist(index, chunk);
}

DataRange Allocator::take_whole(uint64_t index, uint64_t count) {
  assert(whole_.contains({index, index + count}));
  whole_.erase({index, index + count});
  free_blocks_ -= count * kBlocksPerChunk;
  return DataRange::sized(index * kChunkSize, count * kChunkSize);
}

DataRange Allocator::take(uint64_t index, Run run) {
  const auto it = partial_.find(index);
  Chunk& chunk = it->second;
  unlist(index, chunk);
  for (uint64_t block = run.first; block < run.first + run.count; ++block) {
    assert(chunk.free[block]);
    chunk.free[block] = false;
  }
  free_blocks_ -= run.count;
  if (chunk.free.none()) {
    if (chunk.owner) reserved_.erase(*chunk.owner);
    partial_.erase(it);
  } else {
    relist(index, chunk);
  }
  return DataRange::sized(index * kChunkSize + run.first * kPageSize, run.count * kPageSize);
}

void Allocator::give(uint64_t index, Run run) {
  const auto [it, fresh] = partial_.try_emplace(index);
  Chunk& chunk = it->second;
  if (!fresh) unlist(index, chunk);
  for (uint64_t block = run.first; block < run.first + run.count; ++block) {
    assert(!chunk.free[block]);
    chunk.free[block] = true;
  }
  free_blocks_ += run.count;
  if (chunk.free.all()) {  // nothing left that a reservation could be for
    if (chunk.owner) reserved_.erase(*chunk.owner);
    partial_.erase(it);
    whole_.insert({index, index + 1});
  } else {
    relist(index, chunk);
  }
}

void Allocator::free(DataRange range) {
  assert(is_aligned(range.begin | range.end, kPageSize) && range.end <= size_);
  const MustAllocate whole;
  while (!range.empty()) {
    const uint64_t index = range.begin / kChunkSize;
    const uint64_t length = std::min(range.end, (index + 1) * kChunkSize) - range.begin;
    if (length == kChunkSize) {
      whole_.insert({index, index + 1});
      free_blocks_ += kBlocksPerChunk;
    } else {
      give(index, {block_in_chunk(range.begin), length / kPageSize});
    }
    range.begin += length;
  }
}

void Allocator::drop_reservations(uint64_t ino) {
  const MustAllocate whole;
  for (auto it = reserved_.lower_bound({ino, 0});
       it != reserved_.end() && it->first.first == ino;) {
    break_reservation(it++);
  }
}

void Allocator::break_reservation(std::map<Part, uint64_t>::iterator it) {
  const uint64_t index = it->second;
  reserved_.erase(it);
  Chunk& chunk = partial_.at(index);
  chunk.owner.reset();
  relist(index, chunk);
}

void Allocator::unlist(uint64_t index, const Chunk& chunk) {
  if (!chunk.owner) by_room_.erase({chunk.free.count(), index});
}

void Allocator::relist(uint64_t index, const Chunk& chunk) {
  if (!chunk.owner) by_room_.insert({chunk.free.count(), index});
}

void Allocator::for_each_free(const std::function<void(DataRange)>& visit) const {
  RangeSet<DataSpace> all;
  whole_.for_each(
      [&](ChunkRange chunks) { all.insert({chunks.begin * kChunkSize, chunks.end * kChunkSize}); });
  for (const auto& [index, chunk] : partial_) {
    for (uint64_t first = 0; first < kBlocksPerChunk;) {
      const Run run = run_at(chunk, first, kBlocksPerChunk);
      if (run.count > 0) {
        all.insert(DataRange::sized(index * kChunkSize + first * kPageSize, run.count * kPageSize));
      }
      first += run.count + 1;
    }
  }
  all.for_each(visit);
}

}  // namespace pmemd
