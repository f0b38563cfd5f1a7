#include "core/removal/leg_view.h"

#include <algorithm>
#include <utility>

#include "core/removal/fates.h"

namespace pmemd {
namespace {

bool is_among(const Device* device, const std::vector<const Device*>& devices) {
  return std::ranges::find(devices, device) != devices.end();
}

}  // namespace

// Each volume above is looked up before it is touched: meanwhile it may be destroyed, and another
// put there.
std::unique_ptr<LegView> LegView::of(const Device& leg, const std::vector<const Device*>& going,
                                     const std::vector<const Device*>& known) {
  const Device* outermost = nullptr;
  for (const Device* above = leg.above();
       above != nullptr && is_among(above, known) && above->legs()->in_use();
       above = above->above()) {
    outermost = above;
  }
  if (outermost == nullptr || is_among(outermost, going)) return nullptr;
  return std::unique_ptr<LegView>(new LegView(leg, *outermost));
}

Result<void> LegView::find() {
  FailedParts parts;
  PMEMD_TRY(leg_.dax().notify_failure({DaxDevice::kWholeDevice}, kMfMemPreRemove, parts));
  files_.clear();
  for (const FailedPart& part : parts) {
    if (!part.is_metadata) files_[part.ino].insert(part.file);
  }
  return {};
}

std::vector<FileRange> LegView::ranges(uint64_t ino, FileRange within) const {
  const auto file = files_.find(ino);
  return file == files_.end() ? std::vector<FileRange>() : file->second.intersect(within);
}

std::vector<FileRange> LegView::lent(uint64_t ino) const {
  std::vector<FileRange> found;
  const auto file = files_.find(ino);
  if (file == files_.end()) return found;
  for (const FileRange& lent : volume_.leases().ranges(ino)) {
    for (const FileRange& both : file->second.intersect(lent)) found.push_back(both);
  }
  return found;
}

void LegView::note_holders(RemovalReport& report, const std::vector<Holder>& holders) const {
  std::vector<Holder> now;
  for (const Holder& holder : holders) {
    auto part = part_of(
        holder, [&](const Mapping& mapping) { return !ranges(mapping.ino, mapping.range).empty(); },
        [&](const OpenFile& file) { return files_.contains(file.ino); });
    if (part) now.push_back(*std::move(part));
  }
  join_looks(report.holders, std::move(now));
  report.lent_ranges = report.lent_bytes = 0;
  for (const auto& [ino, failed] : files_) {
    for (const FileRange& range : lent(ino)) {
      ++report.lent_ranges;
      report.lent_bytes += range.length();
    }
  }
  count_present_pages(report, /*keep=*/true);
}

uint64_t LegView::count_present_pages(RemovalReport& report, bool keep) const {
  return pmemd::count_present_pages(
      report.holders, [this](uint64_t ino) { return lent(ino); }, keep);
}

bool LegView::is_pinned() const {
  for (const auto& [ino, failed] : files_) {
    for (const FileRange& range : failed.ranges()) {
      if (volume_.claims().is_pinned(ino, range)) return true;
    }
  }
  return false;
}

}  // namespace pmemd
