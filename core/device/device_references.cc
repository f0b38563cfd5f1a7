#include "core/device/device_references.h"

#include <utility>

#include "core/device/content.h"

namespace pmemd {

DeviceReferences::DeviceReferences(const DeviceContent& content,
                                   std::unique_ptr<DevPagemap> pagemap)
    : content_(content), pagemap_(std::move(pagemap)), table_(pagemap_->ref()) {}

ReferenceTable::List DeviceReferences::list(size_t limit,
                                            const std::optional<ReferenceFilter>& only) const {
  auto list = table_.list(limit, only);
  content_.given().add_references(list, limit, only);
  if (volume_holds_ && !only) {
    const Reference volume{.kind = ReferenceKind::kVolume, .range = kWholeFile};
    list.references.insert(list.references.begin(), volume);
    list.add_to_counts(volume);
  }
  return list;
}

uint64_t DeviceReferences::held() const {
  return table_.held() + content_.given().held() + (volume_holds_.load() ? 1 : 0);
}

uint64_t DeviceReferences::unaccounted() const {
  MutexLock lock(mutex_);
  const uint64_t all = pagemap_->references();
  const uint64_t accounted = held();
  return all > accounted ? all - accounted : 0;
}

void DeviceReferences::abandon(std::unique_ptr<DevPagemap> fresh, PagemapRegistry& registry) {
  table_.leases().rebind(fresh->ref());
  {
    MutexLock lock(mutex_);
    pagemap_.swap(fresh);
  }
  abandoned_ += registry.abandon(std::move(fresh));
}

void DeviceReferences::hold_for_volume() {
  if (volume_holds_.load()) return;
  volume_ref_ = pagemap_->ref().tryget_live();
  volume_holds_.store(static_cast<bool>(volume_ref_));
}

void DeviceReferences::put_of_volume() {
  volume_ref_.reset();
  volume_holds_.store(false);
}

}  // namespace pmemd
