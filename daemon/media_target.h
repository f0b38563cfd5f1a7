// What a call about bad memory means: parts of devices' data areas, named by namespace and offset,
// or by a file and a range of it.
//
// Thread contract: any thread of the control server's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/control/varlink.h"
#include "core/range/range.h"
#include "core/removal/removal.h"
#include "daemon/device_table.h"

namespace pmemd {

struct MediaTarget {
  DevicePtr device;
  std::vector<DataRange> ranges;  // sorted, disjoint, not empty
};

// offset and length (default: all of it) of a call, within the `size` bytes of `object`. EINVAL.
Result<DataRange> wanted_range(const Call& call, const std::string& object, uint64_t size);

// The inode that a path below the device's root leads to ("/dir/a"; "": the root). ENOENT, ENOTDIR,
// or what the lookup says; the message names `shown`, as which the caller knows it.
Result<uint64_t> find_inode(FileSystem& fs, std::string_view path, const std::string& shown);

// The namespaces that it comes down to: itself, or what is under the volume, through all layers.
std::vector<MediaTarget> memory_of(const Pool& pool, DeviceTable& devices,
                                   const MediaTarget& target);

// A range of a file.
struct FileTarget {
  DevicePtr device;
  uint64_t ino = 0;
  FileRange range = {};
};
// From a path that begins at the mount's root, and the parameters offset and length (default: all
// of it). ENOENT: no such file. EINVAL: no regular file; a range that isn't within it. ENXIO: its
// namespace isn't enabled.
Result<FileTarget> file_target(DeviceTable& devices, const Call& call, const std::string& file);

// From the parameters namespace or file (a path from the mount's root), offset and length (default:
// all of it); and random and seed: so many single pages of that, in places that the seed tells.
// ENOENT: no such namespace or file. EINVAL: neither or both named; a range that isn't within it;
// more random places than it has pages. ENXIO: nothing of the file lies there (a hole, also after
// what mappings stored there was written back), or its namespace isn't enabled.
Result<MediaTarget> media_target(DeviceTable& devices, KernelPort& kernel, const Call& call);

}  // namespace pmemd
