#include "core/device/volatile_file.h"

#include "core/device/device.h"

namespace pmemd {

Result<void> VolatileFile::mount(const Mount& mount) {
  PMEMD_TRY(mount.mark_in_use());
  if (!mount.clean) PMEMD_TRY(mount.image->discard(kNamespaceMetadataSize, size_bytes()));
  return prepare();
}

void VolatileFile::attach(DevPagemap& pagemap, MappedImage* image) {
  store_ = std::make_unique<ImageStore>(*image, kNamespaceMetadataSize);
  attach_memory(pagemap, *store_);
}

Result<void> VolatileFile::detach(MappedImage* image,
                                  const std::function<Result<void>()>& /*persist*/) {
  if (!store_) return {};
  detach_memory();
  store_.reset();
  return image->discard(kNamespaceMetadataSize, size_bytes());
}

}  // namespace pmemd
