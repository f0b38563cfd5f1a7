#include "core/device/content.h"

#include "core/device/device.h"

namespace pmemd {

int DeviceContent::refusal(Admission access, const RequestOrigin& origin) const {
  const Device::State now = device_.state();
  const bool is_live = now == Device::State::kLive, is_dying = now == Device::State::kDying;
  if (access == Admission::kMigrate || access == Admission::kBuffer) return ENOTTY;
  if (access == Admission::kMedia) return is_live ? 0 : gone_errno();
  if (device_.above() != nullptr) return gone_errno();  // its inodes are gone
  if (is_live) return 0;
  if (is_dying && (access == Admission::kWriteback || access == Admission::kGetattr)) return 0;
  // A removal drops the pins first and then waits for requests, so it waits for this one.
  if (is_dying && access == Admission::kRead &&
      device_.claims().is_pinned(origin.ino, origin.range)) {
    return 0;
  }
  return gone_errno();
}

Result<void> DeviceContent::lend(uint64_t ino, FileRange pages) {
  if (device_.leases().lend(ino, pages)) return {};
  return fail(gone_errno());
}

void DeviceContent::tell_all(const MapperNotice& notice) {
  device_.handles().events().tell_all(notice);
}

}  // namespace pmemd
