#include "core/media/volume_media.h"

#include <cassert>
#include <map>
#include <utility>

#include "core/range/range_set.h"

namespace pmemd {

VolumeMedia::VolumeMedia(VolumeTable table, std::vector<LegMedia> legs)
    : table_(std::move(table)), legs_(std::move(legs)) {
  assert(table_.legs() == legs_.size());
}

Result<Media*> VolumeMedia::leg(size_t index, Writer writer) const {
  Media* const media = legs_[index](writer);
  if (media == nullptr) return fail(EIO);
  return media;
}

Result<void> VolumeMedia::check_legs(DataRange range) const {
  for (const auto& [index, part] : table_.map_by_leg(range)) {
    PMEMD_TRY(leg(index, Writer::kProgram));
  }
  return {};
}

template <class Act>
Result<void> VolumeMedia::for_each_leg(DataRange range, OnError on_error, Act act) const {
  Result<void> first_error;
  for (const auto& [index, part] : table_.map_by_leg(range)) {
    const auto media = leg(index, Writer::kProgram);
    Result<void> done = media ? act(**media, part) : fail(media.err());
    if (done) continue;
    if (on_error == OnError::kStop) return done;
    if (first_error) first_error = std::move(done);
  }
  return first_error;
}

Result<void> VolumeMedia::read(uint64_t offset, std::span<std::byte> to) {
  for (const auto& [index, part] : table_.map(DataRange::sized(offset, to.size()))) {
    PMEMD_ASSIGN(Media* const media, leg(index, Writer::kProgram));
    PMEMD_TRY(media->read(part.begin, to.first(part.length())));
    to = to.subspan(part.length());
  }
  return {};
}

Result<void> VolumeMedia::view(DataRange range, Reader reader, std::vector<iovec>& parts) {
  for (const auto& [index, part] : table_.map(range)) {
    PMEMD_ASSIGN(Media* const media, leg(index, Writer::kProgram));
    PMEMD_TRY(media->view(part, reader, parts));
  }
  return {};
}

Result<void> VolumeMedia::write(uint64_t offset, std::span<const std::byte> data, Writer writer) {
  const auto range = DataRange::sized(offset, data.size());
  if (writer == Writer::kProgram) PMEMD_TRY(check_legs(range));
  Result<void> first_error;
  for (const auto& [index, part] : table_.map(range)) {
    const auto media = leg(index, writer);
    Result<void> written =
        media ? (*media)->write(part.begin, data.first(part.length()), writer) : fail(media.err());
    data = data.subspan(part.length());
    if (written) continue;
    if (writer == Writer::kProgram) return written;
    if (first_error) first_error = std::move(written);
  }
  return first_error;
}

Result<void> VolumeMedia::zero(DataRange range) {
  PMEMD_TRY(check_legs(range));
  return for_each_leg(range, OnError::kStop,
                      [](Media& media, DataRange part) { return media.zero(part); });
}

Result<void> VolumeMedia::persist(DataRange range) {
  return for_each_leg(range, OnError::kGoOn,
                      [](Media& media, DataRange part) { return media.persist(part); });
}

Result<void> VolumeMedia::allocate(DataRange range) {
  PMEMD_TRY(check_legs(range));
  return for_each_leg(range, OnError::kStop,
                      [](Media& media, DataRange part) { return media.allocate(part); });
}

Result<void> VolumeMedia::discard(DataRange range) {
  PMEMD_TRY(check_legs(range));
  return for_each_leg(range, OnError::kStop,
                      [](Media& media, DataRange part) { return media.discard(part); });
}

Result<void> VolumeMedia::drop(DataRange range) {
  return for_each_leg(range, OnError::kStop,
                      [](Media& media, DataRange part) { return media.drop(part); });
}

Result<uint64_t> VolumeMedia::clear(const std::vector<DataRange>& ranges) {
  std::map<size_t, std::vector<DataRange>> by_leg;
  for (const DataRange& range : ranges) {
    for (const auto& [index, part] : table_.map_by_leg(range)) by_leg[index].push_back(part);
  }
  uint64_t cleared = 0;
  for (const auto& [index, parts] : by_leg) {
    PMEMD_ASSIGN(Media* const media, leg(index, Writer::kProgram));
    PMEMD_ASSIGN(const uint64_t bytes, media->clear(parts));
    cleared += bytes;
  }
  return cleared;
}

std::vector<DataRange> VolumeMedia::bad(DataRange range) const {
  RangeSet<DataSpace> found;
  const auto add = [&](size_t index, DataRange part) {
    for (const DataRange& on_volume : table_.rmap(index, part)) {
      found.insert(on_volume.intersect(range));
    }
  };
  for (const auto& [index, part] : table_.map_by_leg(range)) {
    const auto media = leg(index, Writer::kProgram);
    if (!media) {
      add(index, part);
      continue;
    }
    for (const DataRange& bad : (*media)->bad(part)) add(index, bad);
  }
  return found.ranges();
}

}  // namespace pmemd
