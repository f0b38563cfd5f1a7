#include "core/device/memory.h"

#include <utility>

#include "core/device/device.h"
#include "core/media/namespace_media.h"
#include "core/range/range_set.h"

namespace pmemd {
namespace {

void apply(const NamespaceSettings& settings, NamespaceMedia& media) {
  media.set_clear_unit(settings.clear_unit_bytes);
  media.set_clearable(settings.clearable);
}

}  // namespace

NamespaceMemory::NamespaceMemory(Device& device, Pool& pool, PagemapRegistry& registry,
                                 const RegionRecord& region)
    : device_(device),
      pool_(pool),
      registry_(registry),
      base_address_(region.base_address),
      media_errors_(pool.media_errors(region.id)) {}

std::vector<DataRange> NamespaceMemory::errors(ErrorKind kind, DataRange range) const {
  const NamespaceRecord& record = device_.record().of_namespace();
  const RegionRange there = record.in_region(range);
  RangeSet<DataSpace> found;
  for (const RegionRange& bad : kind == ErrorKind::kKnown      ? media_errors_->known(there)
                                : kind == ErrorKind::kInjected ? media_errors_->injected(there)
                                                               : media_errors_->latent(there)) {
    found.insert(record.in_data(bad));
  }
  return found.ranges();
}

void NamespaceMemory::apply_settings() {
  const auto request = device_.admit(Admission::kMedia, {.what = "CONFIGURE"});
  if (request) apply(device_.settings(), static_cast<NamespaceMedia&>(*media_));
}

Result<void> NamespaceMemory::map() {
  if (unmapping_.valid()) unmapping_.get();
  const NamespaceRecord& record = device_.record().of_namespace();
  PMEMD_ASSIGN(auto image, pool_.map_namespace(record));
  auto media = std::make_unique<NamespaceMedia>(std::move(image), *media_errors_, record, observer_,
                                                device_.root_ino());
  apply(device_.settings(), *media);
  image_ = &media->image();
  media_ = std::move(media);
  return {};
}

DevPagemap::Setup NamespaceMemory::pagemap_setup() const {
  const RegionRange range = device_.record().of_namespace().range;
  DevPagemap::Setup setup;
  setup.ranges = {PhysRange::sized(base_address_ + range.begin, range.length())};
  setup.metadata_bytes = kNamespaceMetadataSize;
  return setup;
}

void NamespaceMemory::unmap() {
  image_ = nullptr;
  if (!media_) return;
  // Freeing the page tables of a GiB takes tens of milliseconds, and only the next map() needs to
  // wait for it. If no thread can be made, it is done there.
  unmapping_ = std::async([media = std::move(media_)]() mutable { media.reset(); });
}

PhysRange NamespaceMemory::physical(DataRange range) const {
  const RegionRange region = device_.record().of_namespace().in_region(range);
  return PhysRange::sized(base_address_ + region.begin, region.length());
}

DataRanges NamespaceMemory::data_of(const PhysRanges& ranges) const {
  const NamespaceRecord& record = device_.record().of_namespace();
  const PhysRange whole = physical({0, record.data_bytes()});
  DataRanges data;
  data.reserve(ranges.size());
  for (const PhysRange& range : ranges) {
    const PhysRange part = range.intersect(whole);
    if (part.empty()) continue;
    data.push_back(record.in_data(RegionRange::sized(part.begin - base_address_, part.length())));
  }
  return data;
}

}  // namespace pmemd
