#include "daemon/media_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <ranges>
#include <set>
#include <string>
#include <utility>

#include "core/base/units.h"

namespace pmemd {
namespace {

constexpr uint64_t kMaxRandom = 100'000;

// Pages that a mapping has stored to have memory behind them once they are written back.
Result<void> write_back_holes(KernelPort& kernel, const FileTarget& target) {
  const auto& [device, ino, range] = target;
  if (!device->has_writer(ino)) return {};
  std::vector<FileRange> lent;
  for (const FileRange& part : device->leases().ranges(ino)) {
    if (part.overlaps(range)) lent.push_back(part.intersect(range));
  }
  {
    const auto request = device->begin_request({.what = "FIND"});
    if (!request) return fail(ENXIO, device->record().name() + ": not enabled");
    PMEMD_ASSIGN(const uint64_t bytes, request->fs().hole_bytes(ino, lent));
    if (bytes == 0) return {};
  }
  kernel.flush(ino, {lent.front().begin, lent.back().end});
  return {};
}

Result<MediaTarget> target_of_file(DeviceTable& devices, KernelPort& kernel, const Call& call,
                                   const std::string& file) {
  PMEMD_ASSIGN(const FileTarget target, file_target(devices, call, file));
  const auto& [device, ino, range] = target;
  if (!device->is_fsdax()) return MediaTarget{device, {DataRange{range.begin, range.end}}};
  PMEMD_TRY(write_back_holes(kernel, target));
  const auto request = device->begin_request({.what = "FIND"});
  if (!request) return fail(ENXIO, device->record().name() + ": not enabled");
  PMEMD_ASSIGN(const auto extents, request->fs().extents(ino));
  RangeSet<DataSpace> data;
  for (const auto& [in_file, in_data] : extents) {
    const FileRange part = in_file.intersect(range);
    data.insert(DataRange::sized(in_data.begin + (part.begin - in_file.begin), part.length()));
  }
  if (data.empty()) {
    return fail(ENXIO, file + ": a hole: there is no memory behind it", "write to it first");
  }
  return MediaTarget{device, data.ranges()};
}

// Single pages out of `ranges`, by a generator that is the same everywhere.
Result<std::vector<DataRange>> pick(const std::vector<DataRange>& ranges, uint64_t count,
                                    uint64_t seed) {
  uint64_t pages = 0;
  for (const DataRange& range : ranges) pages += range.length() / kPageSize;
  if (count == 0 || count > std::min(pages, kMaxRandom)) {
    return fail(EINVAL, fmt::format("random: {} places of {} pages", count, pages),
                fmt::format("at most {}", std::min(pages, kMaxRandom)));
  }
  std::mt19937_64 random(seed);
  std::set<uint64_t> chosen;
  while (chosen.size() < count) chosen.insert(random() % pages);
  RangeSet<DataSpace> picked;
  uint64_t before = 0;  // pages of the ranges before this one
  auto next = chosen.begin();
  for (const DataRange& range : ranges) {
    const uint64_t here = range.length() / kPageSize;
    for (; next != chosen.end() && *next < before + here; ++next) {
      const uint64_t begin = align_up(range.begin, kPageSize) + (*next - before) * kPageSize;
      picked.insert(DataRange::sized(begin, kPageSize).intersect(range));
    }
    before += here;
  }
  return picked.ranges();
}

}  // namespace

Result<DataRange> wanted_range(const Call& call, const std::string& object, uint64_t size) {
  const uint64_t begin = call.number("offset").value_or(0);
  const uint64_t length = call.number("length").value_or(begin < size ? size - begin : 0);
  if (length == 0 || begin >= size || length > size - begin) {
    return fail(EINVAL, fmt::format("{}: {:#x} bytes at {:#x} are not within its {:#x}", object,
                                    length, begin, size));
  }
  return DataRange::sized(begin, length);
}

Result<uint64_t> find_inode(FileSystem& fs, std::string_view path, const std::string& shown) {
  uint64_t ino = fs.root();
  for (const auto part : path | std::views::split('/')) {
    const std::string_view name(part.begin(), part.end());
    if (name.empty()) continue;
    const auto attr = fs.lookup(ino, name);
    if (!attr) return fail(attr.err(), fmt::format("{}: {}", shown, std::strerror(attr.err())));
    ino = attr->ino;
  }
  return ino;
}

Result<FileTarget> file_target(DeviceTable& devices, const Call& call, const std::string& file) {
  const size_t begin = std::min(file.find_first_not_of('/'), file.size());
  const size_t end = std::min(file.find('/', begin), file.size());
  const std::string first = file.substr(begin, end - begin);
  const DevicePtr device = devices.by_shown_name(first);
  if (!device) {
    return fail(ENOENT, fmt::format("{}: the mount shows no {}", file, first),
                "a path begins at the mount: /pmem0/dir/file");
  }
  FileTarget target = {.device = device, .ino = device->root_ino()};
  uint64_t size = device->record().data_bytes();
  if (device->is_fsdax()) {
    const auto request = device->begin_request({.what = "FIND"});
    if (!request) return fail(ENXIO, device->record().name() + ": not enabled");
    PMEMD_ASSIGN(target.ino, find_inode(request->fs(), std::string_view(file).substr(end), file));
    PMEMD_ASSIGN(const Attr attr, request->fs().getattr(target.ino));
    if (!S_ISREG(attr.mode)) return fail(EINVAL, file + ": no regular file");
    size = attr.size;
  }
  PMEMD_ASSIGN(const auto range, wanted_range(call, file, size));
  target.range = {range.begin, range.end};
  return target;
}

std::vector<MediaTarget> memory_of(const Pool& pool, DeviceTable& devices,
                                   const MediaTarget& target) {
  if (!target.device->is_volume()) return {target};
  std::map<uint64_t, RangeSet<DataSpace>> by_serial;
  for (const DataRange& range : target.ranges) {
    for (const auto& [record, part] :
         pool.namespaces_under(target.device->record().serial, range)) {
      by_serial[record.serial].insert(part);
    }
  }
  std::vector<MediaTarget> memory;
  memory.reserve(by_serial.size());
  for (const auto& [serial, ranges] : by_serial) {
    if (const DevicePtr device = devices.by_ino(make_inode_number(serial, kRootIndex))) {
      memory.push_back({device, ranges.ranges()});
    }
  }
  return memory;
}

Result<MediaTarget> media_target(DeviceTable& devices, KernelPort& kernel, const Call& call) {
  const auto name = call.text("namespace");
  const auto file = call.text("file");
  if (name.has_value() == file.has_value()) {
    return fail(EINVAL, "wants a namespace or a file, and not both");
  }
  MediaTarget target;
  if (file) {
    PMEMD_ASSIGN(target, target_of_file(devices, kernel, call, *file));
  } else {
    PMEMD_ASSIGN(target.device, devices.find(*name));
    PMEMD_ASSIGN(const auto range, wanted_range(call, *name, target.device->record().data_bytes()));
    target.ranges = {range};
  }
  if (const auto count = call.number("random")) {
    PMEMD_ASSIGN(target.ranges, pick(target.ranges, *count, call.number("seed").value_or(0)));
  }
  return target;
}

}  // namespace pmemd
