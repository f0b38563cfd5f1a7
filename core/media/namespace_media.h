// The data area of one namespace: a part of a region's image, and of its bad ranges.
//
// Thread contract: that of Media. set_…() before others use it.
// Models: drivers/nvdimm/pmem.c struct pmem_device @v6.12.
#pragma once

#include <atomic>
#include <memory>

#include "core/image/image.h"
#include "core/media/media.h"
#include "core/media/media_observer.h"
#include "core/pool/media_errors.h"
#include "core/pool/records.h"

namespace pmemd {

class NamespaceMedia final : public Media {
 public:
  // `image`: of the whole namespace, its metadata included.
  // `observer`: may be null; hears of the device with that root inode.
  NamespaceMedia(std::unique_ptr<MappedImage> image, MediaErrors& errors,
                 const NamespaceRecord& record, MediaObserver* observer = nullptr,
                 uint64_t device_ino = 0);
  ~NamespaceMedia() override;

  MappedImage& image() { return *image_; }

  uint64_t size_bytes() const override { return space_.data_bytes(); }
  Result<void> read(uint64_t offset, std::span<std::byte> to) override;
  Result<void> view(DataRange range, Reader reader, std::vector<iovec>& parts) override;
  Result<void> write(uint64_t offset, std::span<const std::byte> data, Writer writer) override;
  Result<void> zero(DataRange range) override;
  Result<void> persist(DataRange range) override;
  Result<void> allocate(DataRange range) override;
  Result<void> discard(DataRange range) override;
  Result<void> drop(DataRange range) override;
  Result<uint64_t> clear(const std::vector<DataRange>& ranges) override;
  std::vector<DataRange> bad(DataRange range) const override;

  // 256, 512 or 4096: how much must be written at once to be good again.
  void set_clear_unit(uint64_t bytes) { clear_unit_ = bytes; }
  // False: no write clears errors any more; each that would is EIO.
  void set_clearable(bool clearable) { clearable_ = clearable; }

 private:
  uint64_t in_image(uint64_t offset) const { return kNamespaceMetadataSize + offset; }
  // EIO: part of it is bad; reports latent errors.
  Result<void> check_read(DataRange range, Reader reader) const;
  // Whether a write of `range` may make its bad bytes good: whole clear units. EIO.
  Result<void> check_clears(DataRange range) const;
  // Makes what was written there durable, and then marks it good.
  Result<void> set_good(const std::vector<DataRange>& ranges);
  Result<void> write_now(uint64_t offset, std::span<const std::byte> data, Writer writer);
  Result<void> write_around_bad(uint64_t offset, std::span<const std::byte> data);

  const std::unique_ptr<MappedImage> image_;
  MediaErrors& errors_;
  const NamespaceRecord space_;
  std::atomic<uint64_t> clear_unit_ = kSectorSize;
  std::atomic<bool> clearable_ = true;
  MediaObserver* const observer_;
  const uint64_t device_ino_;
};

}  // namespace pmemd
