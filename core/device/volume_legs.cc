#include "core/device/volume_legs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "core/device/device.h"
#include "core/media/volume_media.h"
#include "core/range/range_set.h"

namespace pmemd {
namespace {

// The volume as holder of one leg: translates the leg's ranges to the volume's.
class LegHolder final : public DaxHolder {
 public:
  LegHolder(Device& volume, const VolumeTable& table, size_t leg)
      : volume_(volume), table_(table), leg_(leg) {}

  Result<void> notify_failure(const DataRanges& ranges, unsigned mf_flags,
                              FailedParts& parts) override {
    DataRanges on_volume;
    for (const DataRange& range : ranges) {
      const auto there = table_.rmap(leg_, range);
      on_volume.insert(on_volume.end(), there.begin(), there.end());
    }
    if (on_volume.empty()) return {};  // none of them is the volume's
    return volume_.dax().notify_failure(on_volume, mf_flags, parts);
  }

 private:
  Device& volume_;
  const VolumeTable& table_;
  const size_t leg_;
};

}  // namespace

VolumeLegs::VolumeLegs(Device& volume, const VolumeRecord& record,
                       std::vector<std::shared_ptr<Device>> legs)
    : volume_(volume), table_(record.table), legs_(std::move(legs)) {
  holders_.reserve(legs_.size());
  for (size_t leg = 0; leg < legs_.size(); ++leg) {
    holders_.push_back(std::make_unique<LegHolder>(volume_, table_, leg));
  }
  // Last: nothing can fail from here on.
  for (const auto& leg : legs_) leg->become_leg(&volume_);
}

VolumeLegs::~VolumeLegs() {
  assert(!VolumeLegs::uses_legs());
  VolumeLegs::free_legs();
}

void VolumeLegs::free_legs() {
  for (const auto& leg : legs_) {
    if (leg->above() == &volume_) leg->become_leg(nullptr);
  }
}

Result<void> VolumeLegs::map() {
  for (const auto& leg : legs_) {
    if (leg->state() == Device::State::kLive) continue;
    return fail(
        ENXIO,
        fmt::format("{}: its leg {} is not enabled", volume_.record().name(), leg->record().name()),
        "pmemctl enable-namespace " + leg->record().name());
  }
  in_use_.store(true, std::memory_order_release);
  for (size_t i = 0; i < legs_.size(); ++i) {
    const auto set = legs_[i]->dax().set_holder(*holders_[i]);
    assert(set);  // a leg has no other holder
    (void)set;
    take_leg(*legs_[i]);
  }
  std::vector<VolumeMedia::LegMedia> media;
  media.reserve(legs_.size());
  for (const auto& leg : legs_) {
    media.emplace_back(
        [device = leg.get()](Media::Writer writer) { return device->media_for_volume(writer); });
  }
  media_ = std::make_unique<VolumeMedia>(table_, std::move(media));
  return {};
}

// A volume has no pages of its own: the pagemap only counts, and is never in the registry.
Result<void> VolumeLegs::memremap(DevPagemap& pagemap) {
  pagemap.ref().reinit();
  return {};
}

void VolumeLegs::resurrect(DevPagemap& pagemap) { pagemap.ref().resurrect(); }

void VolumeLegs::unmap() {
  media_.reset();
  if (!uses_legs()) return;
  for (const auto& leg : legs_) {
    leg->dax().drop_holder();
    leg->references().put_of_volume();
  }
  in_use_.store(false, std::memory_order_release);
}

void VolumeLegs::take_leg(Device& leg) {
  if (uses_legs()) leg.references().hold_for_volume();
}

Result<MediaErrors*> VolumeLegs::media_errors() const {
  return fail(ENXIO, volume_.record().name() + ": a volume: memory is of its legs");
}

std::vector<DataRange> VolumeLegs::last_pages() const {
  std::vector<DataRange> found;
  for (size_t leg = 0; leg < legs_.size(); ++leg) {
    std::vector<DataRange> on_leg = legs_[leg]->memory().last_pages();
    on_leg.push_back(DataRange::sized(table_.used_bytes(leg) - kPageSize, kPageSize));
    for (const DataRange& page : on_leg) {
      const auto on_volume = table_.rmap(leg, page);
      found.insert(found.end(), on_volume.begin(), on_volume.end());
    }
  }
  return found;
}

std::vector<DataRange> VolumeLegs::errors(ErrorKind kind, DataRange range) const {
  RangeSet<DataSpace> found;
  for (const auto& [leg, part] : table_.map_by_leg(range)) {
    for (const DataRange& bad : legs_[leg]->memory().errors(kind, part)) {
      for (const DataRange& on_volume : table_.rmap(leg, bad)) found.insert(on_volume);
    }
  }
  return found.ranges();
}

Result<void> VolumeLegs::persist() {
  Result<void> first_error;
  for (const auto& leg : legs_) {
    if (leg->state() == Device::State::kDisabled) continue;
    auto durable = leg->make_durable();
    if (!durable && first_error) first_error = std::move(durable);
  }
  return first_error;
}

}  // namespace pmemd
