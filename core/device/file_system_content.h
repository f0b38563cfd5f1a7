// The content of an fsdax or a volume: a file system.
//
// Thread contract: core/device/content.h.
#pragma once

#include <atomic>
#include <memory>

#include "core/device/content_life.h"
#include "core/device/last_attributes.h"

namespace pmemd {

class FileSystemContent : public ContentLife {
 public:
  FileSystemContent(Device& device, Pool& pool) : ContentLife(device), pool_(pool) {}

  MemoryType memory_type() const override { return MemoryType::kFsDax; }
  mode_t root_type() const override { return S_IFDIR; }
  int gone_errno() const override { return EIO; }
  FileSystem* fs() override { return fs_.get(); }
  int refusal(Admission access, const RequestOrigin& origin) const override;

  // Includes blocks of holes that a writer's mapping may have stored to.
  Result<Attr> getattr(const Request& request, uint64_t ino) override;
  Result<Attr> setattr(const Request& request, uint64_t ino, const SetAttr& change) override;
  Result<struct statvfs> statfs(const Request& request) override;
  Result<ReadBytes> read(const Request& request, uint64_t ino, FileRange range,
                         Media::Reader reader, Atime atime) override;
  Result<size_t> write(const Request& request, uint64_t ino, uint64_t offset,
                       std::span<const std::byte> data, Media::Writer writer) override;
  Result<void> fallocate(const Request& request, uint64_t ino, int mode, FileRange range) override;
  Result<uint64_t> lseek(const Request& request, uint64_t ino, uint64_t offset,
                         int whence) override;
  Result<void> fsync(const Request& request, uint64_t ino, bool datasync) override;
  Result<Extents> extents(const Request& request, uint64_t ino) override;
  Result<void> owners(const Request& request, const DataRanges& ranges,
                      FailedParts& parts) override;
  std::map<uint64_t, std::string> paths(
      const std::map<uint64_t, std::string>& hints) const override;
  void forget(uint64_t ino) override;

  // Nobody is told if the settings ask for a file system without a holder or a reverse map (as
  // ext4).
  MapperPromises promises() const override;
  void tell_all(const MapperNotice& notice) override;
  void add_mapped(const DataRanges& ranges, FailedParts& parts) override;
  std::unique_ptr<DaxHolder> make_holder() override;
  DevPagemapOps ops() override;

  Result<void> mount(const Mount& mount) override;
  void keep_attributes() override;
  void forget_attributes() override { last_attributes_.clear(); }
  std::optional<Attr> last_attributes(uint64_t ino) const override {
    return last_attributes_.find(ino);
  }
  Result<void> detach(MappedImage* image, const std::function<Result<void>()>& persist) override;
  Result<CleanMark> clean_mark() override;
  void unmount() override { fs_.reset(); }

  // `attr`, plus blocks of the file's holes that a writer's mapping may have stored to.
  static Attr with_dirtied(const Request& request, const Attr& attr);

 private:
  Pool& pool_;
  std::unique_ptr<FileSystem> fs_;  // null: a leg; constant while it is mounted
  LastAttributes last_attributes_;
};

}  // namespace pmemd
