// A request that a device has admitted. While it exists, the device's removal waits: keep it until
// the reply has left.
//
// Thread contract: one thread at a time; it may be passed to another.
#pragma once

#include <cstdint>
#include <utility>

#include "core/base/srcu.h"
#include "core/references/request_table.h"

namespace pmemd {

class Device;
class FileSystem;
class Media;

// What a request wants; DeviceContent::refusal() decides by it.
enum class Admission : uint8_t {
  kRequest,    // anything else: the device is live
  kRead,       // bytes of a file; while it is dying, only pinned ranges and buffers
  kWrite,      // bytes of a file
  kWriteback,  // a mapping's stores: also while it is dying
  kGetattr,    // attributes of open files: also while it is dying; of a OneFile in any state
  kNode,       // other operations on an inode: live; of a OneFile in any state
  kMedia,      // only media(): live, also on a leg
  kFsync,      // as kRequest; of volatile memory, which isn't kept, in any state
  kPin,        // as kRequest. EOPNOTSUPP: volatile memory
  // The commands of one kind of memory, in any state; ENOTTY: another kind.
  kMigrate,  // private memory, once it was enabled
  kBuffer,   // a p2p pool
};

class DeviceRequest {
 public:
  FileSystem& fs() const;  // if the content has one
  Media& media() const;    // while the device is enabled
  Device& device() const { return *device_; }

 private:
  friend class Device;
  DeviceRequest(Device* device, Srcu::ReadSection section, RequestTable::Entry entry)
      : device_(device), section_(std::move(section)), entry_(std::move(entry)) {}

  Device* device_;
  Srcu::ReadSection section_;
  RequestTable::Entry entry_;
};

}  // namespace pmemd
