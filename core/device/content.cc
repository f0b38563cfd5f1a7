#include "core/device/content.h"

#include "core/device/device.h"
#include "core/device/file_system_content.h"
#include "core/device/one_file.h"
#include "core/device/p2p_file.h"
#include "core/device/private_file.h"

namespace pmemd {

std::unique_ptr<DeviceContent> DeviceContent::make(Device& device, Pool& pool) {
  switch (device.record().mode) {
    case NamespaceMode::kFsDax:
      return std::make_unique<FileSystemContent>(device, pool);
    case NamespaceMode::kDevDax:
      return std::make_unique<OneFile>(device);
    case NamespaceMode::kPrivate:
      return std::make_unique<PrivateFile>(device);
    case NamespaceMode::kP2p:
      return std::make_unique<P2pFile>(device);
  }
  return nullptr;
}

int DeviceContent::admits(Admission access, const RequestOrigin& origin) const {
  const Device::State now = device_.state();
  const bool is_live = now == Device::State::kLive, is_dying = now == Device::State::kDying;
  if (access == Admission::kMedia) return is_live ? 0 : gone_errno();
  if (device_.is_leg()) return gone_errno();  // its inodes are gone
  if (is_live) return 0;
  if (is_dying && (access == Admission::kWriteback || access == Admission::kGetattr)) return 0;
  // A removal drops the pins first and then waits for requests, so it waits for this one.
  if (is_dying && access == Admission::kRead &&
      device_.claims().is_pinned(origin.ino, origin.range)) {
    return 0;
  }
  return gone_errno();
}

Result<void> DeviceContent::mount(const Mount& mount) { return mount.mark_in_use(); }

Result<void> DeviceContent::detach(MappedImage* /*image*/,
                                   const std::function<Result<void>()>& persist) {
  return persist();
}

}  // namespace pmemd
