#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/base/units.h"
#include "core/range/range_set.h"
#include "core/range/translate.h"
#include "daemon/kernel/prefaulter.h"
#include "daemon/verbs/media_target.h"
#include "daemon/verbs/verbs.h"

namespace pmemd {
namespace {

constexpr uint64_t kPieceBytes = 64 * kMiB;

// A piece's file ranges, and where in the object the next piece begins.
struct Piece {
  std::vector<Prefaulter::Wanted> files;
  uint64_t bad_bytes = 0;  // of pages that can't be read, and are left out
  uint64_t begin = 0, next = 0, end = 0;
};

Result<void> check_device(const Device& device) {
  PMEMD_TRY(device.content().check_read_ahead());
  if (device.state() == Device::State::kLive) return {};
  return fail(ENXIO, device.record().name() + ": not enabled",
              "pmemctl enable-namespace " + device.record().name());
}

Piece piece_of(uint64_t begin, uint64_t end) {
  return {.files = {},
          .bad_bytes = 0,
          .begin = begin,
          .next = std::min(begin + kPieceBytes, end),
          .end = end};
}

// Removes from `set` the pages of a part of the file that can't be read. A READ with such a page
// fails as a whole; a READ of it alone would be a touch, which finds latent errors.
void leave_out_bad(const Device::Request& request, FileRange in_file, DataRange in_data,
                   RangeSet<FileSpace>& set) {
  for (const DataRange& bad : request.media().bad(in_data)) {
    set.erase(translate(bad, in_data, in_file).widened_to(kPageSize));
  }
}

void add_file(Piece& piece, const Prefaulter::Wanted& file, const RangeSet<FileSpace>& readable) {
  piece.bad_bytes += file.range.length() - readable.bytes();
  readable.for_each([&](FileRange range) {
    piece.files.push_back({.ino = file.ino, .range = range, .path = file.path});
  });
}

Result<Piece> piece_of_file(const Machine& machine, const Call& call, const std::string& file) {
  PMEMD_ASSIGN(const FileTarget target, file_target(machine, call, file));
  PMEMD_TRY(check_device(*target.device));
  const auto request = target.device->admit(Admission::kRequest, {.what = "FIND"});
  if (!request) return fail(ENXIO, target.device->record().name() + ": not enabled");
  Piece piece = piece_of(target.range.begin, target.range.end);
  const FileRange range = {piece.begin, piece.next};
  RangeSet<FileSpace> readable;
  readable.insert(range);
  PMEMD_ASSIGN(const auto extents, target.device->content().extents(*request, target.ino));
  for (const auto& [in_file, in_data] : extents) {
    const FileRange part = in_file.intersect(range);
    if (part.empty()) continue;
    leave_out_bad(*request, part, translate(part, in_file, in_data), readable);
  }
  add_file(piece, {.ino = target.ino, .range = range, .path = target.path}, readable);
  return piece;
}

// Adds the files that lie in a piece of the data area; it has no holes of files.
Result<void> add_files(Device& device, const Device::Request& request, Piece& piece) {
  FailedParts parts;
  PMEMD_TRY(device.content().owners(request, {{piece.begin, piece.next}}, parts));
  // Paths only if we may not open by handle: finding them walks all directories.
  std::map<uint64_t, std::string> paths;
  if (geteuid() != 0) {
    std::map<uint64_t, std::string> hints;
    for (const auto& part : parts) hints.emplace(part.ino, "");
    paths = device.content().paths(hints);
  }
  for (const auto& part : parts) {
    if (part.is_metadata) continue;
    // The file may end within its last block.
    const FileRange file = {part.file.begin, align_up(part.file.end, kPageSize)};
    RangeSet<FileSpace> readable;
    readable.insert(file);
    leave_out_bad(request, part.file, part.data, readable);
    add_file(piece, {.ino = part.ino, .range = file, .path = paths[part.ino]}, readable);
  }
  return {};
}

Result<Piece> piece_of_namespace(const Machine& machine, const Call& call,
                                 const std::string& name) {
  PMEMD_ASSIGN(const DevicePtr device, machine.devices.find(name));
  PMEMD_TRY(check_device(*device));
  PMEMD_ASSIGN(const MediaTarget target, media_target(machine, call));
  const auto request = device->admit(Admission::kRequest, {.what = "FIND"});
  if (!request) return fail(ENXIO, name + ": not enabled");
  Piece piece = piece_of(target.ranges.front().begin, target.ranges.front().end);
  PMEMD_TRY(add_files(*device, *request, piece));
  return piece;
}

Result<Piece> piece_of(const Machine& machine, const Call& call) {
  const auto name = call.text("namespace");
  return name ? piece_of_namespace(machine, call, *name)
              : piece_of_file(machine, call, *call.text("file"));
}

// A file's name in messages: its path in the mount, if that is known.
std::string name_of(const Machine& machine, const Prefaulter::Wanted& file) {
  if (!file.path.empty()) return file.path;
  const DevicePtr device = machine.devices.by_ino(file.ino);
  if (device) {
    const auto paths = device->content().paths({{file.ino, ""}});
    if (paths.contains(file.ino)) return paths.at(file.ino);
  }
  return fmt::format("inode {}", file.ino);
}

}  // namespace

HandlerResult prefault_verb(Machine& machine, const Call& call) {
  const std::string object = call.text("file").value_or(call.text("namespace").value_or(""));
  PMEMD_ASSIGN(auto piece, piece_of(machine, call));
  PMEMD_ASSIGN(const HostMemory memory, host_memory());
  const uint64_t keep_free = call.number("keep_free").value_or(Prefaulter::reserve_of(memory));
  uint64_t failed = piece.bad_bytes;
  std::map<uint64_t, std::string> leased;
  for (const auto& wanted : piece.files) {
    if (leased.contains(wanted.ino)) continue;
    auto read = machine.prefaulter.prefault(wanted, keep_free);
    if (read) {
      failed += *read;
      continue;
    }
    // A process has a lease on the file, which our open has begun to break. We don't wait: it may
    // take as long as fs.lease-break-time.
    if (read.err() == EWOULDBLOCK) {
      leased[wanted.ino] = name_of(machine, wanted);
      continue;
    }
    // If the file went away while the piece was read, nothing is left to read.
    if (read.err() == ESTALE || read.err() == ENOENT) continue;
    return std::unexpected(Refusal(Error{{read.err(), std::generic_category()},
                                         fmt::format("{}: read ahead only to {:#x}: {}", object,
                                                     piece.begin, read.error().describe()),
                                         /*hint=*/""}));
  }
  Json reply = {{"offset", piece.begin},
                {"length", piece.next - piece.begin},
                {"left", piece.end - piece.next},
                {"failed_bytes", failed}};
  if (leased.empty()) return reply;
  Json names = Json::array();
  for (const auto& [ino, name] : leased) names.push_back(name);
  reply["leased_files"] = std::move(names);
  return reply;
}

}  // namespace pmemd
