// What a device holds, and how its files behave: a class for each namespace mode.
//
//   DeviceContent
//     FileSystemContent   fsdax, and every volume: a file system (core/filesystem)
//     OneFile             devdax: one file, which is all of the memory
//       PrivateFile       private: system memory; some of its pages may lie on the device
//       P2pFile           p2p: only bytes in a buffer can be read and written
//
// A device asks its content. Nobody tests a device's mode: whatever differs is a virtual here.
//
// Thread contract: as Device. Functions that take a DeviceRequest: any thread, inside that request.
// Life (mount() … unmount()): the thread that enables or removes the device.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/srcu.h"
#include "core/device/device_record.h"
#include "core/device/request.h"
#include "core/failure/dax_device.h"
#include "core/filesystem/filesystem.h"
#include "core/image/image.h"
#include "core/media/media.h"
#include "core/pagemap/dev_pagemap.h"
#include "core/references/reference_table.h"

namespace pmemd {

class P2pPool;
class Pool;
class PrivateMemory;

// The bytes read: parts of the image; or a copy, if the bytes may move before the reply leaves.
struct ReadBytes {
  std::vector<iovec> parts;
  std::vector<std::byte> copy = {};
};

class DeviceContent {
 public:
  using Request = DeviceRequest;
  using Extents = std::vector<std::pair<FileRange, DataRange>>;

  // The content for the record's mode.
  static std::unique_ptr<DeviceContent> make(Device& device, Pool& pool);

  explicit DeviceContent(Device& device) : device_(device) {}
  virtual ~DeviceContent() = default;
  DeviceContent(const DeviceContent&) = delete;
  DeviceContent& operator=(const DeviceContent&) = delete;

  // --- what it is; constant
  virtual MemoryType memory_type() const = 0;
  virtual mode_t root_type() const { return S_IFREG; }  // what the mount shows: S_IFDIR or S_IFREG
  virtual int gone_errno() const { return ENXIO; }      // an operation's errno without the device
  virtual bool is_persistent() const { return true; }   // else its bytes end with the daemon
  // Whether programs map the device's own memory, which is then lent to the page cache.
  virtual bool is_mapped() const { return true; }
  virtual PrivateMemory* private_memory() { return nullptr; }  // of a private one, once enabled
  virtual P2pPool* p2p() { return nullptr; }                   // of a p2p one
  virtual FileSystem* fs() { return nullptr; }                 // while it is mounted

  // 0, or the errno of the refusal. Called inside the read section that the request would have.
  virtual int admits(Admission access, const RequestOrigin& origin) const;

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

  // --- failure
  // Whether mappers are told of events that concern the whole device.
  virtual bool tells_mappers() const { return true; }
  // Adds those parts of the ranges that may be mapped.
  virtual void add_mapped(const DataRanges& ranges, FailedParts& parts) = 0;
  virtual std::unique_ptr<DaxHolder> make_holder() { return nullptr; }  // constant afterwards
  virtual DevPagemapOps ops() { return {}; }  // without page_mapping, which is the device's

  // --- what processes ask for through handles
  virtual void handle_gone(uint64_t /*handle*/) {}
  virtual void process_gone(pid_t /*pid*/) {}
  virtual void interrupt_waits() {}
  // References of the pagemap that it holds, besides those of the ReferenceTable.
  virtual uint64_t held() const { return 0; }
  virtual void add_references(ReferenceTable::List& /*list*/, size_t /*limit*/,
                              const std::optional<ReferenceFilter>& /*only*/) const {}

  // --- life, in this order. An error leaves it as before.
  struct Mount {
    Media& media;
    MappedImage* image;  // null: a volume
    bool clean;          // the last disable was in order
    Srcu& srcu;
    LookupCounts& lookups;
    std::function<Result<void>()> mark_in_use;  // once, before anything changes
  };
  virtual Result<void> mount(const Mount& mount);
  // The pagemap is set up; it and the image live until detach().
  virtual void attach(DevPagemap& /*pagemap*/, MappedImage* /*image*/) {}
  // Dying: brings private pages back. Returns how many (PrivateMemory::migrate_all_to_ram()).
  virtual Result<uint64_t> migrate_to_ram(Deadline /*deadline*/) { return 0; }
  // Live → dead: keeps the attributes that fstat of open files shows from now on. Drops them when
  // the device is live again.
  virtual void keep_attributes() {}
  virtual void forget_attributes() {}
  virtual std::optional<Attr> last_attributes(uint64_t /*ino*/) const { return std::nullopt; }
  // Dead: waits for what was given out. An error: the deadline passed first.
  virtual Result<void> wait_returned(Deadline /*deadline*/) { return {}; }
  // Makes durable what it has in memory, and with `persist` what is in the image. After an error
  // it goes on; returns the first.
  virtual Result<void> detach(MappedImage* image, const std::function<Result<void>()>& persist);
  struct CleanMark {
    bool clean = true;
    std::optional<uint64_t> checksum = {};  // of a file system's extents
  };
  virtual Result<CleanMark> clean_mark() { return CleanMark{}; }
  virtual void unmount() {}

 protected:
  Device& device_;
};

}  // namespace pmemd
