// Bad ranges as sysfs and ndctl show them: in sectors of 512 bytes, relative to the listed object.
//
// Thread contract: any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/verbs/machine.h"

namespace pmemd {

// An object that has bad ranges: a region, or a namespace's data area.
struct MediaObject {
  std::string name;
  uint32_t region = 0;
  RegionRange range;
};
// "region0", "namespace0.1". ENOENT; EINVAL: a volume.
Result<MediaObject> find_media_object(const Pool& pool, const DeviceTable& devices,
                                      const std::string& name);
MediaObject media_object(const Device& device);  // of a namespace
MediaObject media_object(const RegionRecord& region);

// A line of the kernel's table.
struct BadBlocks {
  uint64_t sector = 0;
  uint64_t count = 0;  // at most 512
};
struct BadBlockList {
  uint64_t sectors = 0;           // in all
  std::vector<BadBlocks> blocks;  // the first of them
  uint64_t omitted = 0;           // how many lines are left out
};
// Lists known bad ranges. Models: block/badblocks.c badblocks_show() @v6.12.
BadBlockList list_bad_blocks(const MediaErrors& errors, const MediaObject& object,
                             size_t max_blocks);

// If there are bad ranges, adds badblock_count, and with `list` badblocks.
void add_bad_blocks(Json& json, const Pool& pool, const MediaObject& object, bool list);

}  // namespace pmemd
