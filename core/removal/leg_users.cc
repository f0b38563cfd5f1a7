#include "core/removal/leg_users.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace pmemd {
namespace {

// The outermost enabled volume that stands on the device; null: none does.
Device* outermost_volume(const Device& device) {
  Device* outermost = nullptr;
  const Device* at = &device;
  while (at->is_used_by_volume()) at = outermost = at->above();
  return outermost;
}

bool is_among(const Device* device, const std::vector<Device*>& devices) {
  return std::ranges::find(devices, device) != devices.end();
}

}  // namespace

std::unique_ptr<LegUsers> LegUsers::of(Device& leg, const std::vector<Device*>& going) {
  Device* const volume = outermost_volume(leg);
  if (volume == nullptr || is_among(volume, going)) return nullptr;
  return std::unique_ptr<LegUsers>(new LegUsers(leg, *volume));
}

Result<void> LegUsers::find() {
  FailedParts parts;
  PMEMD_TRY(leg_.dax().notify_failure(0, DaxDevice::kWholeDevice, kMfMemPreRemove, parts));
  files_.clear();
  for (const FailedPart& part : parts) {
    if (!part.is_metadata) files_[part.ino].insert(part.file);
  }
  lost_before_ = volume_.lost_writebacks();
  return {};
}

std::vector<FileRange> LegUsers::ranges(uint64_t ino, FileRange within) const {
  const auto file = files_.find(ino);
  return file == files_.end() ? std::vector<FileRange>() : file->second.intersect(within);
}

std::vector<FileRange> LegUsers::lent(uint64_t ino) const {
  std::vector<FileRange> found;
  const auto file = files_.find(ino);
  if (file == files_.end()) return found;
  for (const FileRange& lent : volume_.leases().ranges(ino)) {
    for (const FileRange& both : file->second.intersect(lent)) found.push_back(both);
  }
  return found;
}

void LegUsers::note_holders(RemovalReport& report, const std::vector<Holder>& holders) const {
  report.holders.clear();
  for (const Holder& holder : holders) {
    Holder part{.pid = holder.pid, .uid = holder.uid, .comm = holder.comm};
    std::ranges::copy_if(
        holder.mappings, std::back_inserter(part.mappings),
        [&](const Mapping& mapping) { return !ranges(mapping.ino, mapping.range).empty(); });
    std::ranges::copy_if(holder.open_files, std::back_inserter(part.open_files),
                         [&](const OpenFile& file) { return files_.contains(file.ino); });
    if (!part.mappings.empty() || !part.open_files.empty()) {
      report.holders.push_back(std::move(part));
    }
  }
  report.lent_ranges = report.lent_bytes = 0;
  for (const auto& [ino, failed] : files_) {
    for (const FileRange& range : lent(ino)) {
      ++report.lent_ranges;
      report.lent_bytes += range.length();
    }
  }
  count_present_pages(report, /*keep=*/true);
}

uint64_t LegUsers::count_present_pages(RemovalReport& report, bool keep) const {
  return pmemd::count_present_pages(
      report.holders, [this](uint64_t ino) { return lent(ino); }, keep);
}

bool LegUsers::is_pinned() const {
  for (const auto& [ino, failed] : files_) {
    for (const FileRange& range : failed.ranges()) {
      if (volume_.claims().is_pinned(ino, range)) return true;
    }
  }
  return false;
}

void LegUsers::tell(const MapperNotice& notice) const {
  for (const auto& [ino, failed] : files_) {
    for (const FileRange& range : failed.ranges()) {
      volume_.mapper_events().tell(ino, range, notice);
    }
  }
}

uint64_t LegUsers::flush(KernelPort& kernel) const {
  uint64_t flushed = 0;
  for (const auto& [ino, failed] : files_) {
    // As of a whole device: only stores through a mapping dirty pages behind our back.
    if (!volume_.has_writer(ino)) continue;
    bool done = true;
    for (const FileRange& range : failed.ranges()) done = kernel.flush(ino, range) && done;
    if (done) ++flushed;
  }
  return flushed;
}

Result<void> LegUsers::revoke(KernelPort& kernel) const {
  for (const auto& [ino, failed] : files_) {
    for (const FileRange& range : failed.ranges()) {
      auto result = kernel.inval(ino, range);
      if (result.err() == ENOENT) break;  // the kernel doesn't know the file
      if (!result) return result;
    }
  }
  return {};
}

void LegUsers::give_back() {
  for (const auto& [ino, failed] : files_) {
    for (const FileRange& range : failed.ranges()) volume_.leases().give_back(ino, range);
  }
}

Result<void> check_no_leg_in_use(const std::vector<Device*>& going) {
  for (const Device* device : going) {
    const Device* const volume = outermost_volume(*device);
    if (volume == nullptr || is_among(volume, going)) continue;
    return fail(
        EBUSY,
        fmt::format("{}: in use by {}", device->record().name(), device->above()->record().name()),
        fmt::format("pmemctl disable-namespace {}, or take it away with --force",
                    volume->record().name()));
  }
  return {};
}

}  // namespace pmemd
