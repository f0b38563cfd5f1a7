#include "daemon/verbs/media_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "core/base/file_name.h"
#include "core/base/glob.h"
#include "core/base/units.h"
#include "core/range/translate.h"
#include "daemon/verbs/machine.h"

namespace pmemd {
namespace {

constexpr uint64_t kMaxRandom = 100'000;

// Writes back pages of holes that a mapping has stored to, so that memory backs them. ENXIO: the
// device isn't enabled.
Result<void> write_back_holes(KernelPort& kernel, Device& device, uint64_t ino, FileRange range) {
  const bool has_holes = device.content().root_type() == S_IFDIR;
  if (!has_holes || !device.claims().has_writer(ino)) return {};
  std::vector<FileRange> lent;
  for (const FileRange& part : device.leases().ranges(ino)) {
    if (part.overlaps(range)) lent.push_back(part.intersect(range));
  }
  {
    const auto request = device.admit(Admission::kRequest, {.what = "FIND"});
    if (!request) return fail(ENXIO, device.record().name() + ": not enabled");
    PMEMD_ASSIGN(const uint64_t bytes, request->fs().hole_bytes(ino, lent));
    if (bytes == 0) return {};
  }
  auto written = kernel.flush(ino, {lent.front().begin, lent.back().end});
  if (written.err() == ETIMEDOUT) return written;
  return {};  // a page that could not be written is lost, and was reported
}

Result<MediaTarget> target_of_file(const Machine& machine, const Call& call,
                                   const std::string& file) {
  PMEMD_ASSIGN(const FileTarget target, file_target(machine, call, file));
  const DevicePtr& device = target.device;
  PMEMD_TRY(write_back_holes(machine.kernel, *device, target.ino, target.range));
  const auto request = device->admit(Admission::kNode, {.what = "FIND"});
  if (!request) return fail(ENXIO, device->record().name() + ": not enabled");
  PMEMD_ASSIGN(const auto extents, device->content().extents(*request, target.ino));
  RangeSet<DataSpace> data;
  for (const auto& [in_file, in_data] : extents) {
    const FileRange part = in_file.intersect(target.range);
    if (!part.empty()) data.insert(translate(part, in_file, in_data));
  }
  if (data.empty()) {
    PMEMD_TRY(device->content().check_mapped());
    return fail(ENXIO, file + ": a hole: there is no memory behind it", "write to it first");
  }
  return MediaTarget{device, data.ranges()};
}

// Picks single pages of `ranges`, with a generator that gives the same result everywhere.
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

// The inode that a path below the root leads to ("/dir/a"; "": the root). ENOENT, ENOTDIR, or what
// the lookup says; the message names `file`, as the caller does.
Result<uint64_t> find_inode(const Device::Request& request, std::string_view path,
                            const std::string& file) {
  uint64_t ino = request.device().root_ino();
  FileSystem* const fs = request.device().content().fs();
  for (const std::string_view name : path_names(path)) {
    if (fs == nullptr) return fail(ENOTDIR, file + ": below a file");
    const auto attr = fs->lookup(ino, name);
    if (!attr) return fail(attr.err(), fmt::format("{}: {}", file, std::strerror(attr.err())));
    ino = attr->ino;
  }
  return ino;
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

Result<FileTarget> find_file(const Machine& machine, const std::string& file) {
  PMEMD_ASSIGN(const FileName name, parse_file_name(file, machine.mount_point));
  PMEMD_ASSIGN(const DevicePtr device, name.object.empty()
                                           ? machine.devices.find_by_device_name(name.device)
                                           : machine.devices.find(name.object));
  const std::string object = device->record().name();
  if (device->above() != nullptr) {
    return fail(ENXIO,
                fmt::format("{}: {} is a leg of a volume, which has the files", file, object));
  }
  FileTarget target = {.device = device,
                       .ino = device->root_ino(),
                       .path = "/" + device->record().device_name() + name.path};
  const auto request = device->admit(Admission::kNode, {.what = "FIND"});
  if (!request) {
    return fail(ENXIO, fmt::format("{}: {} is not enabled", file, object),
                "pmemctl enable-namespace " + object);
  }
  PMEMD_ASSIGN(target.ino, find_inode(*request, name.path, file));
  PMEMD_ASSIGN(const Attr attr, device->content().getattr(*request, target.ino));
  target.mode = attr.mode;
  target.range = {0, attr.size};
  return target;
}

Result<FileTarget> file_target(const Machine& machine, const Call& call, const std::string& file) {
  PMEMD_ASSIGN(FileTarget target, find_file(machine, file));
  if (!S_ISREG(target.mode)) return fail(EINVAL, file + ": no regular file");
  PMEMD_ASSIGN(const auto range, wanted_range(call, file, target.range.end));
  target.range = {range.begin, range.end};
  return target;
}

std::vector<MediaTarget> memory_of(const Machine& machine, const MediaTarget& target) {
  if (!target.device->record().is_volume()) return {target};
  std::map<uint64_t, RangeSet<DataSpace>> by_serial;
  for (const DataRange& range : target.ranges) {
    for (const auto& [record, part] :
         machine.pool.namespaces_under(target.device->record().serial, range)) {
      by_serial[record.serial].insert(part);
    }
  }
  std::vector<MediaTarget> memory;
  memory.reserve(by_serial.size());
  for (const auto& [serial, ranges] : by_serial) {
    if (const DevicePtr device = machine.devices.by_ino(make_inode_number(serial, kRootIndex))) {
      memory.push_back({device, ranges.ranges()});
    }
  }
  return memory;
}

void write_back_stores(const Machine& machine, DevicePtr device) {
  while (const auto volume = machine.pool.volume_of(device->record().serial)) {
    device = machine.devices.by_ino(make_inode_number(volume->serial, kRootIndex));
    if (!device) return;  // destroyed meanwhile
  }
  for (const uint64_t ino : device->leases().inodes()) {
    // Errors: the device isn't enabled or the file is gone, so there is nothing to write back.
    (void)write_back_holes(machine.kernel, *device, ino, kWholeFile);
  }
}

Result<MediaTarget> media_target(const Machine& machine, const Call& call) {
  MediaTarget target;
  if (const auto file = call.text("file")) {
    PMEMD_ASSIGN(target, target_of_file(machine, call, *file));
  } else {
    const std::string name = *call.text("namespace");
    PMEMD_ASSIGN(target.device, machine.devices.find(name));
    PMEMD_ASSIGN(const auto range, wanted_range(call, name, target.device->record().data_bytes()));
    target.ranges = {range};
  }
  if (const auto count = call.number("random")) {
    PMEMD_ASSIGN(target.ranges, pick(target.ranges, *count, call.number("seed").value_or(0)));
  }
  return target;
}

}  // namespace pmemd
