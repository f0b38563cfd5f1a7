// The content of a private namespace: one file of system memory; some of its pages may lie on the
// device (core/device/private_memory.h).
//
// System memory lives as long as the device object: a process keeps its memory when the device is
// gone. So reads and writes are admitted in any state.
//
// Thread contract: core/device/content.h.
#pragma once

#include <atomic>
#include <memory>

#include "core/device/private_memory.h"
#include "core/device/volatile_file.h"

namespace pmemd {

class PrivateFile : public VolatileFile, private GivenPages {
 public:
  using VolatileFile::VolatileFile;

  MemoryType memory_type() const override { return MemoryType::kPrivate; }
  GivenPages& given() override { return *this; }
  const GivenPages& given() const override { return *this; }
  int refusal(Admission access, const RequestOrigin& origin) const override;

  Result<ReadBytes> read(const Request& request, uint64_t ino, FileRange range,
                         Media::Reader reader, Atime atime) override;
  Result<size_t> write(const Request& request, uint64_t ino, uint64_t offset,
                       std::span<const std::byte> data, Media::Writer writer) override;
  // System memory isn't lent: a removal takes none of it away.
  Result<void> lend(uint64_t /*ino*/, FileRange /*pages*/) override { return {}; }
  Result<Extents> extents(const Request& request, uint64_t ino) override;

  Result<void> check_mapped() const override;
  void tell_all(const MapperNotice& /*notice*/) override {}  // it stays with its processes
  DevPagemapOps ops() override;

 protected:
  Result<void> prepare() override;
  void attach_memory(DevPagemap& pagemap, ByteStore& store) override;
  void detach_memory() override;

 private:
  uint64_t held() const override;
  void add_references(ReferenceTable::List& list, size_t limit,
                      const std::optional<ReferenceFilter>& only) const override;
  Result<uint64_t> migrate_to_device(FileRange range,
                                     const std::function<Result<void>()>& take_away) override;
  Result<uint64_t> migrate_to_ram(Deadline deadline) override;

  PrivateMemory* shown() const { return shown_.load(std::memory_order_acquire); }

  std::unique_ptr<SystemMemory> ram_;
  std::unique_ptr<PrivateMemory> memory_;        // from the first mount() on
  std::atomic<PrivateMemory*> shown_ = nullptr;  // memory_, for concurrent readers
};

}  // namespace pmemd
