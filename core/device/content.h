// What a device holds, and how its files behave: a class for each namespace mode.
//
//   DeviceContent           its files, for requests and verbs
//     ContentLife           enabling and removing it, for the device alone
//       FileSystemContent   fsdax, and every volume: a file system (core/filesystem)
//       OneFile             devdax: one file, which is all of the memory
//         PrivateFile       private: system memory; some of its pages may lie on the device
//         P2pFile           p2p: only bytes in a buffer can be read and written
//
// Callers don't test a device's mode: they call a virtual, and the content does what differs, or
// refuses it with its own errno.
//
// Thread contract: as Device. Functions that take a DeviceRequest: any thread, inside that request.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/device/given_pages.h"
#include "core/device/request.h"
#include "core/events/mapper_events.h"
#include "core/filesystem/filesystem.h"
#include "core/media/media.h"
#include "core/pagemap/dev_pagemap.h"
#include "core/pagemap/failed_part.h"

namespace pmemd {

// The bytes read: parts of the image, or zeros; or a copy, if they may move before the reply
// leaves.
struct ReadBytes {
  std::vector<iovec> parts;
  std::vector<std::byte> copy = {};
  bool may_read_ahead = true;  // what follows them in the file
};

// What processes that map a file can rely on.
struct MapperPromises {
  bool fsync_keeps_data = true;  // it survives the daemon
  // XFS tells mappers. A device-dax is unmapped without notice, and so are files of a file system
  // that can't tell which files lie where.
  bool removal_is_told = false;
};

class DeviceContent {
 public:
  using Request = DeviceRequest;
  using Extents = std::vector<std::pair<FileRange, DataRange>>;

  explicit DeviceContent(Device& device) : device_(device) {}
  virtual ~DeviceContent() = default;
  DeviceContent(const DeviceContent&) = delete;
  DeviceContent& operator=(const DeviceContent&) = delete;

  // --- constant
  virtual MemoryType memory_type() const = 0;
  virtual mode_t root_type() const { return S_IFREG; }  // what the mount shows: S_IFDIR or S_IFREG
  virtual int gone_errno() const { return ENXIO; }      // an operation's errno without the device

  virtual FileSystem* fs() { return nullptr; }  // while it is mounted; a leg has none
  virtual GivenPages& given() { return none_given_; }
  virtual const GivenPages& given() const { return none_given_; }
  virtual MapperPromises promises() const { return {}; }

  // The errno with which an access is refused, or 0. Called inside the read section that the
  // request would have.
  virtual int refusal(Admission access, const RequestOrigin& origin) const;
  // Records that the kernel's page cache gets these pages of a file, so that a removal takes them
  // back. Call before the reply that lends them. gone_errno(): the device is gone.
  virtual Result<void> lend(uint64_t ino, FileRange pages);

  // --- its files. Errnos are the system calls'; a file system's are FileSystem's.
  virtual Result<Attr> getattr(const Request& request, uint64_t ino) = 0;
  // EBUSY: a pinned range would be cut off. EINVAL (one file): another size.
  virtual Result<Attr> setattr(const Request& request, uint64_t ino, const SetAttr& change) = 0;
  virtual Result<struct statvfs> statfs(const Request& request) = 0;
  // Reads up to the end of the file. EIO: part of it is bad, or (p2p) in no buffer.
  virtual Result<ReadBytes> read(const Request& request, uint64_t ino, FileRange range,
                                 Media::Reader reader, Atime atime) = 0;
  // Returns the bytes written. ENOSPC: no room, or (one file) past the end. EIO: (p2p) in no
  // buffer.
  virtual Result<size_t> write(const Request& request, uint64_t ino, uint64_t offset,
                               std::span<const std::byte> data, Media::Writer writer) = 0;
  // ENODEV: (one file) not an allocation within the file. EBUSY: a pinned range would be freed.
  virtual Result<void> fallocate(const Request& request, uint64_t ino, int mode,
                                 FileRange range) = 0;
  virtual Result<uint64_t> lseek(const Request& request, uint64_t ino, uint64_t offset,
                                 int whence) = 0;
  virtual Result<void> fsync(const Request& request, uint64_t ino, bool datasync) = 0;
  // Where a file's bytes lie; and which files own ranges of the data area (FileSystem::owners()).
  virtual Result<Extents> extents(const Request& request, uint64_t ino) = 0;
  virtual Result<void> owners(const Request& request, const DataRanges& ranges,
                              FailedParts& parts) = 0;
  // For each inode in `hints`, a path from the mount's root: "/pmem0/a/b"; for a file without
  // links "/pmem0/#INODE (deleted)". In any state. A hint is such a path, or any text: if it leads
  // to its inode, it is used, and saves a walk of all directories. Inodes that can't be read are
  // left out.
  virtual std::map<uint64_t, std::string> paths(
      const std::map<uint64_t, std::string>& hints) const = 0;
  // The kernel has forgotten an inode.
  virtual void forget(uint64_t /*ino*/) {}
  // The attributes that fstat of an open file shows while the device is gone.
  virtual std::optional<Attr> last_attributes(uint64_t /*ino*/) const { return std::nullopt; }

  // --- its memory
  // ENXIO, with the reason: no program maps its memory, so that it can't fail under one.
  virtual Result<void> check_mapped() const { return {}; }
  // EOPNOTSUPP, with the reason: its files aren't read ahead.
  virtual Result<void> check_read_ahead() const { return {}; }
  // Tells all its mappers of an event that concerns the whole device, unless its files stay.
  virtual void tell_all(const MapperNotice& notice);

 protected:
  Device& device_;

 private:
  GivenPages none_given_;
};

}  // namespace pmemd
