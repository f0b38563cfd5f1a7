#include "daemon/verbs/badblocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/pool/media_errors.h"

namespace pmemd {
namespace {

constexpr uint64_t kMaxSectorsALine = 512;
constexpr size_t kMaxListed = 512;    // lines in List: the size of the kernel's table
constexpr size_t kMaxLines = 65'536;  // in BadBlocks

}  // namespace

MediaObject media_object(const Device& device) {
  return {device.record().name(), device.record().of_namespace().region,
          device.record().of_namespace().in_region({0, device.record().data_bytes()})};
}

MediaObject media_object(const RegionRecord& region) {
  return {region.name(), region.id, {0, region.size_bytes}};
}

Result<MediaObject> find_media_object(const Pool& pool, const DeviceTable& devices,
                                      const std::string& name) {
  if (name.starts_with("region")) {
    PMEMD_ASSIGN(const RegionRecord region, pool.find_region(name));
    return media_object(region);
  }
  PMEMD_ASSIGN(const ConstDevicePtr device, devices.find(name));
  if (device->record().is_volume()) {
    return fail(EINVAL, name + ": a volume has no blocks of its own", "ask for those of its legs");
  }
  return media_object(*device);
}

BadBlockList list_bad_blocks(const MediaErrors& errors, const MediaObject& object,
                             size_t max_blocks) {
  BadBlockList list;
  for (const RegionRange& range : errors.known(object.range)) {
    uint64_t sector = (range.begin - object.range.begin) / kSectorSize;
    uint64_t left = range.length() / kSectorSize;
    list.sectors += left;
    while (left > 0 && list.blocks.size() < max_blocks) {
      const uint64_t count = std::min(left, kMaxSectorsALine);
      list.blocks.push_back({sector, count});
      sector += count;
      left -= count;
    }
    list.omitted += (left + kMaxSectorsALine - 1) / kMaxSectorsALine;
  }
  return list;
}

void add_bad_blocks(Json& json, const Pool& pool, const MediaObject& object, bool list) {
  const auto errors = pool.media_errors(object.region);
  if (!errors) return;  // destroyed meanwhile
  const auto bad = list_bad_blocks(*errors, object, kMaxListed);
  if (bad.sectors == 0) return;
  json["badblock_count"] = bad.sectors;
  if (!list) return;
  Json& blocks = json["badblocks"] = Json::array();
  for (const auto& [sector, count] : bad.blocks) {
    blocks.push_back({{"offset", sector},
                      {"length", count},
                      {"dimms", Json::array({fmt::format("nmem{}", object.region)})}});
  }
}

HandlerResult bad_blocks_verb(const MachineView& machine, const Call& call) {
  PMEMD_ASSIGN(const MediaObject object,
               find_media_object(machine.pool, machine.devices, *call.text("object")));
  const auto errors = machine.pool.media_errors(object.region);
  if (!errors) return fail(ENOENT, object.name + ": destroyed");
  const auto bad = list_bad_blocks(*errors, object, kMaxLines);
  Json blocks = Json::array();
  for (const auto& [sector, count] : bad.blocks) {
    blocks.push_back({{"sector", sector}, {"count", count}});
  }
  return Json{{"object", object.name},
              {"badblock_count", bad.sectors},
              {"badblocks", std::move(blocks)},
              {"omitted", bad.omitted}};
}

}  // namespace pmemd
