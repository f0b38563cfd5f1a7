#include "core/device/content_life.h"

#include "core/device/device.h"
#include "core/device/file_system_content.h"
#include "core/device/one_file.h"
#include "core/device/p2p_file.h"
#include "core/device/private_file.h"

namespace pmemd {

std::unique_ptr<ContentLife> ContentLife::make(Device& device, Pool& pool) {
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

Result<void> ContentLife::mount(const Mount& mount) { return mount.mark_in_use(); }

Result<void> ContentLife::detach(MappedImage* /*image*/,
                                 const std::function<Result<void>()>& persist) {
  return persist();
}

}  // namespace pmemd
