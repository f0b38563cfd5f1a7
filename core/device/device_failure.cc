// How a failure of a device's memory finds those who stand on it.
#include <cassert>
#include <utility>

#include "core/device/device.h"
#include "core/range/range_set.h"

namespace pmemd {
namespace {

void apply(const NamespaceSettings& settings, NamespaceMedia& media) {
  media.set_clear_unit(settings.clear_unit_bytes);
  media.set_clearable(settings.clearable);
}

}  // namespace

Device::~Device() { assert(state() == State::kDisabled); }

void Device::become_leg(Device* volume) {
  assert(state() == State::kDisabled && (volume == nullptr || !is_leg()));
  above_.store(volume, std::memory_order_release);
  // Its holder is the volume, from when that is enabled.
  dax_.drop_holder();
  if (volume == nullptr) (void)dax_.set_holder(*holder_);
}

void Device::hold_for_volume() {
  if (volume_holds_.load()) return;
  volume_ref_ = pagemap_->ref().tryget_live();
  volume_holds_.store(static_cast<bool>(volume_ref_));
}

void Device::put_of_volume() {
  volume_ref_.reset();
  volume_holds_.store(false);
}

Media* Device::media_for_volume(Media::Writer writer) {
  const State now = state();
  const bool takes =
      now == State::kLive || (now == State::kDying && writer == Media::Writer::kWriteback);
  return takes ? media_.get() : nullptr;
}

DataRanges Device::data_of(const PhysRanges& ranges) const {
  const PhysRange whole = physical({0, record_.data_bytes()});
  DataRanges data;
  data.reserve(ranges.size());
  for (const PhysRange& range : ranges) {
    const PhysRange part = range.intersect(whole);
    if (part.empty()) continue;
    data.push_back(in_data(RegionRange::sized(part.begin - base_address_, part.length())));
  }
  return data;
}

DevPagemapOps Device::pagemap_ops() {
  DevPagemapOps ops = content_->ops();
  ops.page_mapping = [this](const PhysRanges& ranges, FailedParts& parts) {
    content_->add_mapped(data_of(ranges), parts);
  };
  return ops;
}

std::vector<DataRange> Device::errors(ErrorKind kind, DataRange range) const {
  RangeSet<DataSpace> found;
  if (is_volume()) {
    const VolumeTable& table = record_.of_volume().table;
    for (const auto& [leg, part] : table.map_by_leg(range)) {
      for (const DataRange& bad : legs_->all()[leg]->errors(kind, part)) {
        for (const DataRange& on_volume : table.rmap(leg, bad)) found.insert(on_volume);
      }
    }
    return found.ranges();
  }
  const RegionRange there = in_region(range);
  const MediaErrors& all = media_errors();
  for (const RegionRange& bad : kind == ErrorKind::kKnown      ? all.known(there)
                                : kind == ErrorKind::kInjected ? all.injected(there)
                                                               : all.latent(there)) {
    found.insert(in_data(bad));
  }
  return found.ranges();
}

void Device::apply_settings() {
  if (is_volume()) return;  // its legs have settings of their own
  const auto request = admit(Admission::kMedia, {.what = "CONFIGURE"});
  if (request) apply(settings(), static_cast<NamespaceMedia&>(*media_));
}

std::unique_ptr<NamespaceMedia> Device::make_media(std::unique_ptr<MappedImage> image) {
  auto media =
      std::make_unique<NamespaceMedia>(std::move(image), media_errors(), record_.of_namespace());
  apply(settings(), *media);
  media->set_on_latent([this](DataRange range) {
    if (media_hooks_.on_latent) media_hooks_.on_latent(*this, range);
  });
  if (media_hooks_.on_access) {
    media->set_on_access([this](DataRange range, MediaAccess access) {
      media_hooks_.on_access(*this, range, access);
    });
  }
  media->set_on_cleared([this](const std::vector<DataRange>& ranges) {
    if (media_hooks_.on_cleared) media_hooks_.on_cleared(*this, ranges);
  });
  return media;
}

}  // namespace pmemd
