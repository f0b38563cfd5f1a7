// The base of private and p2p memory: bytes that end with the daemon.
//
// The namespace's part of the image is all zeros before the first page is used: a clean disable
// discards it, or else the next enable does.
//
// Thread contract: core/device/content.h.
#pragma once

#include <memory>

#include "core/device/byte_store.h"
#include "core/device/one_file.h"

namespace pmemd {

class VolatileFile : public OneFile {
 public:
  using OneFile::OneFile;

  int refusal(Admission access, const RequestOrigin& origin) const override;
  Result<void> fsync(const Request& /*request*/, uint64_t /*ino*/, bool /*datasync*/) override {
    return {};
  }
  Result<void> check_read_ahead() const override;
  MapperPromises promises() const override { return {.fsync_keeps_data = false}; }

  // ENOMEM, EMFILE, ENFILE: no system memory. EIO, ENOSPC: the image can't be zeroed.
  Result<void> mount(const Mount& mount) override;
  void attach(DevPagemap& pagemap, MappedImage* image) override;
  // Asserts: no page or buffer is out. EIO, ENOSPC: detached, but the image can't be zeroed.
  Result<void> detach(MappedImage* image, const std::function<Result<void>()>& persist) override;

 protected:
  virtual Result<void> prepare() { return {}; }
  virtual void attach_memory(DevPagemap& pagemap, ByteStore& store) = 0;
  virtual void detach_memory() = 0;

 private:
  std::unique_ptr<ImageStore> store_;  // while attached
};

}  // namespace pmemd
