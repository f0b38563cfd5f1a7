// The target of a call about bad memory: parts of devices' data areas, named by namespace and
// offset, or by a file and a range of it.
//
// Thread contract: any thread of the control server.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/control/varlink.h"
#include "core/device/device_table.h"
#include "core/range/range.h"
#include "core/removal/removal.h"

namespace pmemd {

struct Machine;

struct MediaTarget {
  DevicePtr device;
  std::vector<DataRange> ranges;  // sorted, disjoint, not empty
};

// A call's offset and length (default: all of it), within the `size` bytes of `object`. EINVAL.
Result<DataRange> wanted_range(const Call& call, const std::string& object, uint64_t size);

// The target on namespaces: itself, or the parts under the volume, through all layers.
std::vector<MediaTarget> memory_of(const Machine& machine, const MediaTarget& target);

// A range of a file.
struct FileTarget {
  DevicePtr device;
  uint64_t ino = 0;
  std::string path;  // from the mount's root
  mode_t mode = S_IFREG;
  FileRange range = {};
};
// The whole file that `file` (core/base/file_name.h) names. A devdax is one file. ENOENT: no such
// file, or device. EINVAL: not a file's name. ENXIO: its namespace isn't enabled, or is a leg.
Result<FileTarget> find_file(const Machine& machine, const std::string& file);
// The part of it that the parameters offset and length name (default: all of it). EINVAL also: not
// a regular file; a range that isn't within it.
Result<FileTarget> file_target(const Machine& machine, const Call& call, const std::string& file);

// Writes back what mappings have stored to holes of the files of a device, or of the volume on it:
// until then no memory of the device has those bytes.
void write_back_stores(const Machine& machine, DevicePtr device);

// Reads the parameters namespace or file, offset and length (default: all of it), random and seed.
// random: that number of single pages, in places that the seed determines. ENOENT: no such
// namespace or file. EINVAL: a range that isn't within it; more random places than it has pages.
// ENXIO: nothing of the file lies there (a hole, even after mappings' stores were written back), or
// its namespace isn't enabled.
Result<MediaTarget> media_target(const Machine& machine, const Call& call);

}  // namespace pmemd
