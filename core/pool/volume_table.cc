#include "core/pool/volume_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <utility>

#include "core/pagemap/pfn.h"

namespace pmemd {
namespace {

std::unexpected<Error> refuse(std::string message, std::string hint = "") {
  return fail(EINVAL, "volume: " + std::move(message), std::move(hint));
}

void add_merged(std::vector<DataRange>& ranges, DataRange range) {
  if (range.empty()) return;
  if (!ranges.empty() && ranges.back().end == range.begin) {
    ranges.back().end = range.end;
  } else {
    ranges.push_back(range);
  }
}

}  // namespace

std::string_view to_string(VolumeType type) {
  return type == VolumeType::kLinear ? "linear" : "striped";
}

Result<VolumeType> parse_volume_type(std::string_view text) {
  for (const VolumeType type : kVolumeTypes) {
    if (text == to_string(type)) return type;
  }
  return fail(EINVAL, fmt::format("type '{}': unknown", text), "use linear or striped");
}

Result<VolumeTable> VolumeTable::make(VolumeType type, uint64_t chunk_bytes,
                                      std::vector<uint64_t> leg_bytes) {
  if (leg_bytes.empty() || leg_bytes.size() > kMaxLegs) {
    return refuse(fmt::format("{} legs", leg_bytes.size()),
                  fmt::format("it has from one to {}", kMaxLegs));
  }
  if (type == VolumeType::kStriped &&
      (chunk_bytes < kPageSize || !std::has_single_bit(chunk_bytes))) {
    return refuse(fmt::format("a chunk of {} bytes", chunk_bytes),
                  "it is a power of two from 4 KiB on");
  }
  if (type == VolumeType::kLinear && chunk_bytes != 0) {
    return refuse("a linear volume has no chunks", "leave the chunk size out");
  }
  for (const uint64_t bytes : leg_bytes) {
    if (bytes == 0 || !is_aligned(bytes, kPageSize) || bytes >= kPhysicalAddressEnd) {
      return refuse(fmt::format("a leg of {} bytes", bytes));
    }
  }
  VolumeTable table;
  table.type_ = type;
  table.chunk_bytes_ = chunk_bytes;
  if (type == VolumeType::kStriped) {
    const uint64_t used = align_down(*std::ranges::min_element(leg_bytes), chunk_bytes);
    if (used == 0) {
      return refuse("a leg is smaller than a chunk of " + format_size(chunk_bytes),
                    "use smaller chunks");
    }
    table.size_bytes_ = used * leg_bytes.size();
  } else {
    table.begins_.reserve(leg_bytes.size());
    for (const uint64_t bytes : leg_bytes) {
      table.begins_.push_back(table.size_bytes_);
      table.size_bytes_ += bytes;
    }
  }
  if (table.size_bytes_ >= kPhysicalAddressEnd) {
    return refuse(fmt::format("{} bytes", table.size_bytes_));
  }
  table.leg_bytes_ = std::move(leg_bytes);
  return table;
}

uint64_t VolumeTable::used_bytes(size_t leg) const {
  return type_ == VolumeType::kLinear ? leg_bytes_[leg] : size_bytes_ / legs();
}

VolumeTable::LegRange VolumeTable::find(uint64_t offset) const {
  if (type_ == VolumeType::kLinear) {
    const auto behind = std::ranges::upper_bound(begins_, offset);
    const auto leg = static_cast<size_t>(behind - begins_.begin()) - 1;
    return {leg, {offset - begins_[leg], leg_bytes_[leg]}};
  }
  const uint64_t chunk = offset / chunk_bytes_;
  const uint64_t in_leg = chunk / legs() * chunk_bytes_;
  return {chunk % legs(), {in_leg + offset % chunk_bytes_, in_leg + chunk_bytes_}};
}

std::vector<VolumeTable::LegRange> VolumeTable::map(DataRange range) const {
  assert(range.begin <= range.end && range.end <= size_bytes_);
  std::vector<LegRange> found;
  if (type_ == VolumeType::kStriped) found.reserve(range.length() / chunk_bytes_ + 2);
  for (uint64_t offset = range.begin; offset < range.end;) {
    LegRange part = find(offset);
    part.range.end = std::min(part.range.end, part.range.begin + (range.end - offset));
    offset += part.range.length();
    // With a single leg, chunks continue each other.
    if (!found.empty() && found.back().leg == part.leg &&
        found.back().range.end == part.range.begin) {
      found.back().range.end = part.range.end;
    } else {
      found.push_back(part);
    }
  }
  return found;
}

uint64_t VolumeTable::leg_offset_before(size_t leg, uint64_t offset) const {
  const uint64_t stripe_bytes = chunk_bytes_ * legs();
  const uint64_t in_stripe = offset % stripe_bytes;
  const uint64_t chunk_begin = leg * chunk_bytes_;
  const uint64_t in_chunk =
      in_stripe <= chunk_begin ? 0 : std::min(in_stripe - chunk_begin, chunk_bytes_);
  return offset / stripe_bytes * chunk_bytes_ + in_chunk;
}

std::vector<VolumeTable::LegRange> VolumeTable::map_by_leg(DataRange range) const {
  if (type_ == VolumeType::kLinear) return map(range);  // each leg is there once
  assert(range.begin <= range.end && range.end <= size_bytes_);
  std::vector<LegRange> found;
  found.reserve(legs());
  for (size_t leg = 0; leg < legs(); ++leg) {
    const DataRange part = {leg_offset_before(leg, range.begin), leg_offset_before(leg, range.end)};
    if (!part.empty()) found.push_back({leg, part});
  }
  return found;
}

std::vector<DataRange> VolumeTable::rmap(size_t leg, DataRange range) const {
  range = range.intersect({0, used_bytes(leg)});
  std::vector<DataRange> found;
  if (range.empty()) return found;
  if (type_ == VolumeType::kLinear) {
    found.push_back(DataRange::sized(begins_[leg] + range.begin, range.length()));
    return found;
  }
  if (legs() > 1) found.reserve(range.length() / chunk_bytes_ + 2);
  for (uint64_t offset = range.begin; offset < range.end;) {
    const uint64_t row = offset / chunk_bytes_;
    const uint64_t end = std::min(range.end, (row + 1) * chunk_bytes_);
    const uint64_t chunk = row * legs() + leg;
    add_merged(found, DataRange::sized(chunk * chunk_bytes_ + offset % chunk_bytes_, end - offset));
    offset = end;
  }
  return found;
}

}  // namespace pmemd
