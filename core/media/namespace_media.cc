#include "core/media/namespace_media.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/base/units.h"

namespace pmemd {
namespace {

FaultPoint fault_write("clear.write", "writing the bytes that make a bad range good");
FaultPoint fault_persist("clear.persist", "making these bytes durable");
FaultPoint fault_record("clear.record", "taking a range out of the record; its bytes are written");

}  // namespace

NamespaceMedia::NamespaceMedia(std::unique_ptr<MappedImage> image, MediaErrors& errors,
                               const NamespaceRecord& record, MediaObserver* observer,
                               uint64_t device_ino)
    : image_(std::move(image)),
      errors_(errors),
      space_(record),
      observer_(observer),
      device_ino_(device_ino) {}

NamespaceMedia::~NamespaceMedia() = default;

std::vector<DataRange> NamespaceMedia::bad(DataRange range) const {
  return space_.all_in_data(errors_.bad(space_.in_region(range)));
}

Result<void> NamespaceMedia::check_read(DataRange range, Reader reader) const {
  if (observer_ != nullptr) observer_->on_access(device_ino_, range, MediaAccess::kRead);
  if (!errors_.is_bad(space_.in_region(range))) return {};
  if (observer_ != nullptr && reader == Reader::kProgram &&
      !errors_.latent(space_.in_region(range)).empty()) {
    observer_->on_latent(device_ino_, range);
  }
  return fail(EIO);
}

Result<void> NamespaceMedia::read(uint64_t offset, std::span<std::byte> to) {
  PMEMD_TRY(check_read(DataRange::sized(offset, to.size()), Reader::kProgram));
  return image_->read(in_image(offset), to);
}

Result<void> NamespaceMedia::view(DataRange range, Reader reader, std::vector<iovec>& parts) {
  PMEMD_TRY(check_read(range, reader));
  parts.push_back(image_->view(in_image(range.begin), range.length()));
  return {};
}

Result<void> NamespaceMedia::check_clears(DataRange range) const {
  const uint64_t unit = clear_unit_;
  for (const DataRange& part : bad(range)) {
    // Units count from the region's start; a data area begins at a multiple of every unit size.
    const DataRange units = part.widened_to(unit);
    if (!clearable_ || !range.contains(units)) return fail(EIO);
  }
  return {};
}

Result<void> NamespaceMedia::set_good(const std::vector<DataRange>& ranges) {
  PMEMD_TRY(fault_persist.hit());
  const MediaErrors::Ranges in_region = space_.all_in_region(ranges);
  std::vector<std::pair<uint64_t, uint64_t>> in_image;
  in_image.reserve(ranges.size());
  for (const DataRange& range : ranges) {
    in_image.emplace_back(this->in_image(range.begin), range.length());
  }
  const bool was_known = std::ranges::any_of(
      in_region, [&](RegionRange range) { return !errors_.known(range).empty(); });
  PMEMD_TRY(image_->persist(in_image));
  PMEMD_TRY(fault_record.hit());
  PMEMD_ASSIGN(const auto cleared, errors_.clear(in_region));
  const MustAllocate recorded;
  if (observer_ == nullptr || !was_known) return {};
  observer_->on_cleared(device_ino_, space_.all_in_data(cleared));
  return {};
}

Result<void> NamespaceMedia::write_around_bad(uint64_t offset, std::span<const std::byte> data) {
  RangeSet<DataSpace> good;
  const auto range = DataRange::sized(offset, data.size());
  good.insert(range);
  for (const DataRange& part : bad(range)) good.erase(part);
  for (const DataRange& part : good.ranges()) {
    PMEMD_TRY(
        image_->write(in_image(part.begin), data.subspan(part.begin - offset, part.length())));
  }
  return {};
}

Result<void> NamespaceMedia::write(uint64_t offset, std::span<const std::byte> data,
                                   Writer writer) {
  PMEMD_TRY(write_now(offset, data, writer));
  if (observer_ != nullptr) {
    observer_->on_access(
        device_ino_, DataRange::sized(offset, data.size()),
        writer == Writer::kWriteback ? MediaAccess::kWriteback : MediaAccess::kWrite);
  }
  return {};
}

Result<void> NamespaceMedia::write_now(uint64_t offset, std::span<const std::byte> data,
                                       Writer writer) {
  const auto range = DataRange::sized(offset, data.size());
  if (!errors_.is_bad(space_.in_region(range))) return image_->write(in_image(offset), data);
  if (writer == Writer::kWriteback) return write_around_bad(offset, data);
  PMEMD_TRY(check_clears(range));
  PMEMD_TRY(fault_write.hit());
  PMEMD_TRY(image_->write(in_image(offset), data));
  return set_good({range});
}

Result<void> NamespaceMedia::zero(DataRange range) {
  if (!errors_.is_bad(space_.in_region(range))) {
    return image_->zero(in_image(range.begin), range.length());
  }
  PMEMD_TRY(check_clears(range));
  PMEMD_TRY(fault_write.hit());
  PMEMD_TRY(image_->zero(in_image(range.begin), range.length()));
  return set_good({range});
}

Result<uint64_t> NamespaceMedia::clear(const std::vector<DataRange>& ranges) {
  std::vector<DataRange> bad;
  for (const DataRange& range : ranges) {
    for (const RegionRange& known : errors_.known(space_.in_region(range))) {
      bad.push_back(space_.in_data(known));
    }
  }
  if (bad.empty()) return 0;
  if (!clearable_) return fail(EIO);
  PMEMD_TRY(fault_write.hit());
  uint64_t cleared = 0;
  for (const DataRange& part : bad) {
    PMEMD_TRY(image_->zero_written(in_image(part.begin), part.length()));
    cleared += part.length();
  }
  PMEMD_TRY(set_good(bad));
  return cleared;
}

Result<void> NamespaceMedia::persist(DataRange range) {
  return image_->persist(in_image(range.begin), range.length());
}

Result<void> NamespaceMedia::allocate(DataRange range) {
  // Free bytes are zeros; free bytes that are bad may be anything.
  if (errors_.is_bad(space_.in_region(range))) PMEMD_TRY(discard(range));
  return image_->allocate(in_image(range.begin), range.length());
}

Result<void> NamespaceMedia::discard(DataRange range) {
  const bool was_bad = errors_.is_bad(space_.in_region(range));
  if (was_bad) {
    PMEMD_TRY(check_clears(range));
    PMEMD_TRY(fault_write.hit());
  }
  PMEMD_TRY(drop(range));
  return was_bad ? set_good({range}) : Result<void>();
}

Result<void> NamespaceMedia::drop(DataRange range) {
  return image_->discard(in_image(range.begin), range.length());
}

}  // namespace pmemd
