// The content of a p2p namespace: one file; only bytes in a buffer can be read and written
// (core/device/p2p_pool.h).
//
// Thread contract: core/device/content.h.
#pragma once

#include "core/device/p2p_pool.h"
#include "core/device/volatile_file.h"

namespace pmemd {

class P2pFile : public VolatileFile {
 public:
  explicit P2pFile(Device& device);

  MemoryType memory_type() const override { return MemoryType::kPciP2pdma; }
  P2pPool* p2p() override { return &pool_; }
  // While the device is dying, buffers can be read until they are returned.
  int admits(Admission access, const RequestOrigin& origin) const override;

  Result<ReadBytes> read(const Request& request, uint64_t ino, FileRange range,
                         Media::Reader reader, Atime atime) override;
  Result<size_t> write(const Request& request, uint64_t ino, uint64_t offset,
                       std::span<const std::byte> data, Media::Writer writer) override;

  void handle_gone(uint64_t handle) override { pool_.begin_return_of_handle(handle); }
  void process_gone(pid_t pid) override { pool_.begin_return_of_process(pid); }
  void interrupt_waits() override { pool_.interrupt(); }
  uint64_t held() const override { return pool_.counts().pages; }
  void add_references(ReferenceTable::List& list, size_t limit,
                      const std::optional<ReferenceFilter>& only) const override;
  // Never given up: zeroing a buffer uses the image.
  Result<void> wait_returned(Deadline deadline) override;

 protected:
  void attach_memory(DevPagemap& pagemap, ByteStore& store) override;
  void detach_memory() override { pool_.detach(); }

 private:
  P2pPool pool_;
};

}  // namespace pmemd
