// The content of a devdax, and the base of private and p2p memory's: one file, which is the whole
// data area.
//
// Its attributes behave like a device node's in devtmpfs: mode and owner can be changed, last until
// the daemon ends, and can be read without the device. The namespace sets size and all others.
//
// Thread contract: core/device/content.h.
#pragma once

#include <optional>

#include "core/base/mutex.h"
#include "core/device/content_life.h"

namespace pmemd {

class OneFile : public ContentLife {
 public:
  explicit OneFile(Device& device) : ContentLife(device) {}

  MemoryType memory_type() const override { return MemoryType::kGeneric; }
  int refusal(Admission access, const RequestOrigin& origin) const override;

  Result<Attr> getattr(const Request& request, uint64_t ino) override PMEMD_EXCLUDES(mutex_);
  Result<Attr> setattr(const Request& request, uint64_t ino, const SetAttr& change) override
      PMEMD_EXCLUDES(mutex_);
  Result<struct statvfs> statfs(const Request& request) override;
  Result<ReadBytes> read(const Request& request, uint64_t ino, FileRange range,
                         Media::Reader reader, Atime atime) override;
  Result<size_t> write(const Request& request, uint64_t ino, uint64_t offset,
                       std::span<const std::byte> data, Media::Writer writer) override;
  Result<void> fallocate(const Request& request, uint64_t ino, int mode, FileRange range) override;
  // The file is one extent of data. ENXIO: past the end.
  Result<uint64_t> lseek(const Request& request, uint64_t ino, uint64_t offset,
                         int whence) override;
  Result<void> fsync(const Request& request, uint64_t ino, bool datasync) override;
  Result<Extents> extents(const Request& request, uint64_t ino) override;
  Result<void> owners(const Request& request, const DataRanges& ranges,
                      FailedParts& parts) override;
  std::map<uint64_t, std::string> paths(
      const std::map<uint64_t, std::string>& hints) const override;
  // Adds all ranges, so that processes with a registered mapping they never touched are told, too.
  void add_mapped(const DataRanges& ranges, FailedParts& parts) override;

 protected:
  uint64_t size_bytes() const;
  FileRange within_file(FileRange range) const { return range.intersect({0, size_bytes()}); }

 private:
  Attr& attr() PMEMD_REQUIRES(mutex_);

  Mutex mutex_;
  std::optional<Attr> attr_ PMEMD_GUARDED_BY(mutex_);  // from the first look on
};

}  // namespace pmemd
