// The content of a p2p namespace: one file; only bytes in a buffer can be read and written
// (core/device/p2p_pool.h).
//
// Thread contract: core/device/content.h.
#pragma once

#include <utility>
#include <vector>

#include "core/device/p2p_pool.h"
#include "core/device/volatile_file.h"

namespace pmemd {

class P2pFile : public VolatileFile, private GivenPages {
 public:
  explicit P2pFile(Device& device);

  MemoryType memory_type() const override { return MemoryType::kPciP2pdma; }
  GivenPages& given() override { return *this; }
  const GivenPages& given() const override { return *this; }
  // While the device is dying, buffers can be read until they are returned.
  int refusal(Admission access, const RequestOrigin& origin) const override;

  Result<ReadBytes> read(const Request& request, uint64_t ino, FileRange range,
                         Media::Reader reader, Atime atime) override;
  Result<size_t> write(const Request& request, uint64_t ino, uint64_t offset,
                       std::span<const std::byte> data, Media::Writer writer) override;

 protected:
  void attach_memory(DevPagemap& pagemap, ByteStore& store) override;
  void detach_memory() override { pool_.detach(); }

 private:
  uint64_t held() const override { return pool_.counts().pages; }
  void add_references(ReferenceTable::List& list, size_t limit,
                      const std::optional<ReferenceFilter>& only) const override;

  Result<FileRange> alloc(uint64_t handle, pid_t pid, uint64_t length,
                          UserBudget::Charge charge) override {
    return pool_.alloc(handle, pid, length, std::move(charge));
  }
  Result<void> begin_return(uint64_t handle, uint64_t offset) override {
    return pool_.begin_return(handle, offset);
  }
  uint64_t begin_return_of_all() override { return pool_.begin_return_of_all(); }
  void handle_gone(uint64_t handle) override { pool_.begin_return_of_handle(handle); }
  void process_gone(pid_t pid) override { pool_.begin_return_of_process(pid); }
  std::vector<P2pBuffer> returning() const override { return pool_.returning(); }
  Result<void> finish_return(uint64_t id) override { return pool_.finish_return(id); }
  uint64_t buffers() const override { return pool_.counts().buffers; }

  bool wait_empty(Deadline deadline) override { return pool_.wait_empty(deadline); }
  void interrupt_waits() override { pool_.interrupt(); }
  // Never given up: zeroing a buffer uses the image.
  Result<void> wait_returned(Deadline deadline) override;

  P2pPool pool_;
};

}  // namespace pmemd
