#include "core/device/volatile_file.h"

#include "core/device/device.h"

namespace pmemd {

int VolatileFile::refusal(Admission access, const RequestOrigin& origin) const {
  if (access == Admission::kPin) return EOPNOTSUPP;
  if (access == Admission::kFsync) return 0;
  return OneFile::refusal(access, origin);
}

Result<void> VolatileFile::check_read_ahead() const {
  return fail(EOPNOTSUPP, device_.record().name() + ": its memory is volatile",
              "fsdax and devdax namespaces can be read ahead");
}

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
