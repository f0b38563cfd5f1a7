#include "core/device/one_file.h"

#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "core/base/units.h"
#include "core/device/device.h"

namespace pmemd {

uint64_t OneFile::size_bytes() const { return device_.record().data_bytes(); }

int OneFile::refusal(Admission access, const RequestOrigin& origin) const {
  const bool is_of_node = access == Admission::kGetattr || access == Admission::kNode;
  return is_of_node ? 0 : ContentLife::refusal(access, origin);
}

Attr& OneFile::attr() {
  if (!attr_) {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    attr_ = {.ino = device_.root_ino(),
             .mode = S_IFREG | 0600,
             .nlink = 1,
             .uid = geteuid(),
             .gid = getegid(),
             .size = size_bytes(),
             .blocks = size_bytes() / kSectorSize,
             .atime = now,
             .mtime = now,
             .ctime = now,
             .btime = now};
  }
  return *attr_;
}

Result<Attr> OneFile::getattr(const Request& /*request*/, uint64_t /*ino*/) {
  MutexLock lock(mutex_);
  return attr();
}

Result<Attr> OneFile::setattr(const Request& /*request*/, uint64_t /*ino*/, const SetAttr& change) {
  MutexLock lock(mutex_);
  Attr& now = attr();
  if (change.size && *change.size != now.size) return fail(EINVAL);
  if (change.mode) now.mode = S_IFREG | (*change.mode & 07777);
  if (change.uid) now.uid = *change.uid;
  if (change.gid) now.gid = *change.gid;
  if (change.atime) now.atime = *change.atime;
  if (change.mtime) now.mtime = *change.mtime;
  clock_gettime(CLOCK_REALTIME, &now.ctime);
  return now;
}

Result<struct statvfs> OneFile::statfs(const Request& /*request*/) {
  struct statvfs st = {};
  st.f_bsize = st.f_frsize = kPageSize;
  st.f_namemax = 255;
  st.f_blocks = size_bytes() / kPageSize;
  return st;
}

Result<ReadBytes> OneFile::read(const Request& request, uint64_t /*ino*/, FileRange range,
                                Media::Reader reader, Atime /*atime*/) {
  range = within_file(range);
  ReadBytes bytes;
  if (range.empty()) return bytes;
  PMEMD_TRY(request.media().view({range.begin, range.end}, reader, bytes.parts));
  return bytes;
}

Result<size_t> OneFile::write(const Request& request, uint64_t /*ino*/, uint64_t offset,
                              std::span<const std::byte> data, Media::Writer writer) {
  const FileRange range = within_file(FileRange::sized(offset, data.size()));
  if (range.empty()) return fail(ENOSPC);
  PMEMD_TRY(request.media().write(offset, data.first(range.length()), writer));
  return range.length();
}

// All blocks are allocated already, so there is nothing to do (libpmemobj asks for it).
Result<void> OneFile::fallocate(const Request& /*request*/, uint64_t /*ino*/, int mode,
                                FileRange range) {
  const bool is_inside = within_file(range) == range;
  if ((mode & ~FALLOC_FL_KEEP_SIZE) != 0 || !is_inside) return fail(ENODEV);
  return {};
}

Result<uint64_t> OneFile::lseek(const Request& /*request*/, uint64_t /*ino*/, uint64_t offset,
                                int whence) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return fail(EINVAL);
  if (offset >= size_bytes()) return fail(ENXIO);
  return whence == SEEK_HOLE ? size_bytes() : offset;
}

Result<void> OneFile::fsync(const Request& request, uint64_t /*ino*/, bool /*datasync*/) {
  return request.media().persist({0, size_bytes()});
}

Result<DeviceContent::Extents> OneFile::extents(const Request& /*request*/, uint64_t /*ino*/) {
  return Extents{{{0, size_bytes()}, {0, size_bytes()}}};
}

Result<void> OneFile::owners(const Request& /*request*/, const DataRanges& ranges,
                             FailedParts& parts) {
  add_mapped(ranges, parts);
  return {};
}

std::map<uint64_t, std::string> OneFile::paths(const std::map<uint64_t, std::string>& hints) const {
  std::map<uint64_t, std::string> paths;
  for (const auto& [ino, hint] : hints) paths.emplace(ino, "/" + device_.record().device_name());
  return paths;
}

void OneFile::add_mapped(const DataRanges& ranges, FailedParts& parts) {
  for (const DataRange& range : ranges) {
    parts.push_back({.ino = device_.root_ino(), .file = {range.begin, range.end}, .data = range});
  }
}

}  // namespace pmemd
