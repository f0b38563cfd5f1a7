#include "core/device/file_system_content.h"

#include <fmt/format.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <unordered_map>
#include <utility>

#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/base/units.h"
#include "core/device/device.h"
#include "core/filesystem/paths.h"
#include "core/filesystem/superblock.h"
#include "core/range/range_set.h"
#include "core/range/translate.h"

namespace pmemd {
namespace {

FaultPoint fault_format("enable.format", "making the root directory of a new fsdax");
FaultPoint fault_mount("enable.mount", "reading the file system");

// The file system as holder: turns ranges of the device into ranges of files.
// Models: fs/xfs/xfs_notify_failure.c xfs_dax_notify_failure() @v6.12.
class FileSystemHolder final : public DaxHolder {
 public:
  explicit FileSystemHolder(Device& device) : device_(device) {}

  Result<void> notify_failure(const DataRanges& ranges, unsigned /*mf_flags*/,
                              FailedParts& parts) override {
    if (!device_.settings().rmap) return fail(EOPNOTSUPP);
    // Writeback's admission: holders are told while the device is dying, too.
    PMEMD_ASSIGN(const auto request,
                 device_.admit(Admission::kWriteback, {.what = "NOTIFY_FAILURE"}));
    return request.fs().owners(ranges, parts);
  }

 private:
  Device& device_;
};

}  // namespace

int FileSystemContent::refusal(Admission access, const RequestOrigin& origin) const {
  const bool goes_on = access == Admission::kWriteback || access == Admission::kGetattr ||
                       access == Admission::kMedia;
  if (const int refused = ContentLife::refusal(access, origin)) return refused;
  return device_.health().is_shut_down() && !goes_on ? EIO : 0;
}

Attr FileSystemContent::with_dirtied(const Request& request, const Attr& attr) {
  Attr told = attr;
  const Device& device = request.device();
  if (!attr.has_holes() || !device.claims().has_writer(attr.ino)) return told;
  const auto bytes = request.fs().hole_bytes(attr.ino, device.leases().ranges(attr.ino));
  if (bytes) told.dirtied_blocks = *bytes / kSectorSize;  // else the file is gone
  return told;
}

Result<Attr> FileSystemContent::getattr(const Request& request, uint64_t ino) {
  PMEMD_ASSIGN(const Attr attr, request.fs().getattr(ino));
  return with_dirtied(request, attr);
}

Result<Attr> FileSystemContent::setattr(const Request& request, uint64_t ino,
                                        const SetAttr& change) {
  // As in fs/dax.c dax_layout_busy_page(): pinned blocks aren't taken from the file.
  if (change.size && device_.claims().is_pinned(ino, {*change.size, kWholeFile.end})) {
    return fail(EBUSY);
  }
  PMEMD_ASSIGN(const Attr attr, request.fs().setattr(ino, change));
  // Pages past the end aren't lent again; the kernel drops them when it has the reply.
  if (change.size) {
    device_.leases().give_back(ino, {align_up(*change.size, kPageSize), kWholeFile.end});
  }
  return with_dirtied(request, attr);
}

Result<struct statvfs> FileSystemContent::statfs(const Request& request) {
  return request.fs().statfs();
}

Result<ReadBytes> FileSystemContent::read(const Request& request, uint64_t ino, FileRange range,
                                          Media::Reader reader, Atime atime) {
  PMEMD_ASSIGN(auto parts, request.fs().read(ino, range, reader, atime));
  return ReadBytes{std::move(parts)};
}

Result<size_t> FileSystemContent::write(const Request& request, uint64_t ino, uint64_t offset,
                                        std::span<const std::byte> data, Media::Writer writer) {
  PMEMD_TRY(request.fs().write(ino, offset, data, writer));
  return data.size();
}

Result<void> FileSystemContent::fallocate(const Request& request, uint64_t ino, int mode,
                                          FileRange range) {
  const bool takes_blocks = (mode & ~FALLOC_FL_KEEP_SIZE) != 0;
  if (takes_blocks && device_.claims().is_pinned(ino, range)) return fail(EBUSY);
  PMEMD_TRY(request.fs().fallocate(ino, mode, range.begin, range.length()));
  // The kernel drops the whole pages when it has the reply.
  const FileRange pages = {align_up(range.begin, kPageSize), align_down(range.end, kPageSize)};
  if (takes_blocks && !pages.empty()) device_.leases().give_back(ino, pages);
  return {};
}

Result<uint64_t> FileSystemContent::lseek(const Request& request, uint64_t ino, uint64_t offset,
                                          int whence) {
  // A mapping may have stored into lent pages that were holes, without a request to us.
  std::vector<FileRange> lent;
  if (device_.claims().has_writer(ino)) lent = device_.leases().ranges(ino);
  return request.fs().lseek(ino, offset, whence, lent);
}

Result<void> FileSystemContent::fsync(const Request& request, uint64_t ino, bool datasync) {
  return request.fs().fsync(ino, datasync);
}

Result<DeviceContent::Extents> FileSystemContent::extents(const Request& request, uint64_t ino) {
  return request.fs().extents(ino);
}

Result<void> FileSystemContent::owners(const Request& request, const DataRanges& ranges,
                                       FailedParts& parts) {
  return request.fs().owners(ranges, parts);
}

std::map<uint64_t, std::string> FileSystemContent::paths(
    const std::map<uint64_t, std::string>& hints) const {
  const DeviceRecord& record = device_.record();
  const std::string device = "/" + record.device_name();
  std::map<uint64_t, std::string> paths;
  Paths wanted;
  for (const auto& [ino, hint] : hints) {
    const bool is_below = hint.starts_with(device + "/");
    wanted.emplace(ino, is_below ? hint.substr(device.size()) : "");
  }
  const auto found = paths_of_inodes(pool_.database(), record.serial, record.data_bytes(), wanted);
  if (!found) return paths;
  for (const auto& [ino, hint] : hints) {
    const auto path = found->find(ino);
    if (path == found->end()) {
      paths.emplace(ino, fmt::format("{}/#{} (deleted)", device, ino));
    } else {
      paths.emplace(ino, path->second == "/" ? device : device + path->second);
    }
  }
  return paths;
}

void FileSystemContent::forget(uint64_t ino) {
  // If it isn't live, is a leg, or memory is out, the inode's row waits for the next enable.
  (void)or_no_memory([&]() -> Result<void> {
    if (auto request = device_.admit(Admission::kRequest)) request->fs().forget(ino);
    return {};
  });
}

MapperPromises FileSystemContent::promises() const {
  const NamespaceSettings settings = device_.settings();
  return {.removal_is_told = settings.holder && settings.rmap};
}

void FileSystemContent::tell_all(const MapperNotice& notice) {
  if (promises().removal_is_told) ContentLife::tell_all(notice);
}

void FileSystemContent::add_mapped(const DataRanges& ranges, FailedParts& parts) {
  const auto request = device_.admit(Admission::kWriteback, {.what = "NOTIFY_FAILURE"});
  if (!request) return;
  FailedParts owners;
  if (!request->fs().owners(ranges, owners)) return;
  // By file: each may have many parts and many leases.
  std::unordered_map<uint64_t, RangeSet<FileSpace>> lent;
  for (const FailedPart& part : owners) {
    if (part.is_metadata) continue;
    const auto [of_file, is_new] = lent.try_emplace(part.ino);
    if (is_new) {
      for (const FileRange& all : device_.leases().ranges(part.ino)) of_file->second.insert(all);
    }
    for (const FileRange& both : of_file->second.intersect(part.file)) {
      parts.push_back({part.ino, both, translate(both, part.file, part.data)});
    }
  }
}

std::unique_ptr<DaxHolder> FileSystemContent::make_holder() {
  return std::make_unique<FileSystemHolder>(device_);
}

DevPagemapOps FileSystemContent::ops() {
  DevPagemapOps ops;
  ops.memory_failure = [this](const PhysRanges& ranges, unsigned mf_flags, FailedParts& parts) {
    // A leg's holder is its volume; no setting removes it.
    if (!device_.settings().holder && device_.above() == nullptr)
      return Result<void>(fail(EOPNOTSUPP));
    return device_.dax().notify_failure(device_.memory().data_of(ranges), mf_flags, parts);
  };
  return ops;
}

Result<void> FileSystemContent::mount(const Mount& mount) {
  if (device_.above() != nullptr) return mount.mark_in_use();  // the volume has the files
  const DeviceRecord& record = device_.record();
  // At the first enable, so that a kill after the namespace was made does no harm.
  PMEMD_TRY(fault_format.hit());
  PMEMD_ASSIGN(const bool is_old, FileSystem::is_formatted(pool_.database(), record.serial));
  if (!is_old) PMEMD_TRY(prepare_superblock(mount.media));
  PMEMD_TRY(FileSystem::format(pool_.database(), record.serial, record.data_bytes(),
                               {.uid = geteuid(), .gid = getegid()}));
  PMEMD_TRY(fault_mount.hit());
  PMEMD_ASSIGN(const auto checksum, pool_.extents_checksum(record.serial));
  PMEMD_ASSIGN(
      fs_, FileSystem::mount(pool_.database(), mount.media, mount.srcu, mount.lookups,
                             {.serial = record.serial,
                              .clean = mount.clean,
                              .extents_checksum = checksum,
                              .mark_in_use = mount.mark_in_use,
                              .tolerant = device_.settings().on_metadata == OnMetadata::kDegraded,
                              .superblock_elsewhere = device_.memory().last_pages()}));
  return {};
}

void FileSystemContent::keep_attributes() {
  if (fs_) last_attributes_.keep(*fs_, device_.claims().open_inodes());
}

Result<void> FileSystemContent::detach(MappedImage* /*image*/,
                                       const std::function<Result<void>()>& persist) {
  auto durable = persist();
  if (auto times = fs_ ? fs_->flush_times() : Result<void>(); !times && durable) {
    durable = std::move(times);
  }
  return durable;
}

Result<ContentLife::CleanMark> FileSystemContent::clean_mark() {
  CleanMark mark;
  if (!fs_) return mark;
  // If free space could not be zeroed, the next mount tries again.
  mark.clean = fs_->free_space_is_zero();
  if (mark.clean) {
    PMEMD_ASSIGN(mark.checksum, fs_->extents_checksum());
  }
  return mark;
}

}  // namespace pmemd
