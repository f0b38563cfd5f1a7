#include "core/removal/file_ranges.h"

#include <algorithm>
#include <utility>

#include "core/base/fault.h"
#include "core/base/units.h"
#include "core/pool/schema.h"

namespace pmemd {
namespace {

constexpr int kRevokeAttempts = 4;

FaultPoint fault_inval("revoke.inval", "taking one file's ranges out of the page cache");

}  // namespace

void FileRanges::add_all(const Device& device) { whole_[device.record().serial] = &device; }

void FileRanges::add(const Device& device, uint64_t ino, FileRange range) {
  OfFile& file = files_[ino];
  file.device = &device;
  file.ranges.insert(range.widened_to(kPageSize));
}

void FileRanges::erase(uint64_t ino, FileRange range) {
  const auto file = files_.find(ino);
  if (file == files_.end()) return;
  file->second.ranges.erase(range);
  if (file->second.ranges.empty()) files_.erase(file);
}

void FileRanges::clear() { files_.clear(); }

std::vector<uint64_t> FileRanges::files() const {
  std::vector<uint64_t> inos;
  for (const auto& [serial, device] : whole_) {
    const auto lent = device->leases().inodes();
    inos.insert(inos.end(), lent.begin(), lent.end());
  }
  for (const auto& [ino, file] : files_) inos.push_back(ino);
  return inos;
}

std::vector<FileRange> FileRanges::ranges(uint64_t ino, FileRange within) const {
  if (whole_.contains(inode_serial(ino))) return {within};
  const auto file = files_.find(ino);
  return file == files_.end() ? std::vector<FileRange>() : file->second.ranges.intersect(within);
}

std::vector<FileRange> FileRanges::lent(uint64_t ino) const {
  const auto whole = whole_.find(inode_serial(ino));
  if (whole != whole_.end()) return whole->second->leases().ranges(ino);
  std::vector<FileRange> found;
  const auto file = files_.find(ino);
  if (file == files_.end()) return found;
  for (const FileRange& lent : file->second.device->leases().ranges(ino)) {
    for (const FileRange& both : file->second.ranges.intersect(lent)) found.push_back(both);
  }
  return found;
}

LeaseTable::Totals FileRanges::lent_totals() const {
  LeaseTable::Totals sum;
  for (const auto& [serial, device] : whole_) {
    const auto totals = device->leases().totals();
    sum.ranges += totals.ranges;
    sum.bytes += totals.bytes;
  }
  for (const auto& [ino, file] : files_) {
    for (const FileRange& range : lent(ino)) {
      ++sum.ranges;
      sum.bytes += range.length();
    }
  }
  return sum;
}

bool FileRanges::has(uint64_t ino, FileRange range) const {
  if (whole_.contains(inode_serial(ino))) return true;
  const auto file = files_.find(ino);
  return file != files_.end() && file->second.ranges.overlaps(range);
}

std::vector<Holder> FileRanges::held(const std::vector<Holder>& holders) const {
  std::vector<Holder> parts;
  for (const Holder& holder : holders) {
    Holder part = holder;
    std::erase_if(part.mappings,
                  [this](const Mapping& mapping) { return !has(mapping.ino, mapping.range); });
    std::erase_if(part.open_files,
                  [this](const OpenFile& file) { return !has(file.ino, kWholeFile); });
    if (!part.mappings.empty() || !part.open_files.empty()) parts.push_back(std::move(part));
  }
  return parts;
}

uint64_t FileRanges::count_present(std::vector<Holder>& holders, bool keep) const {
  return count_present_pages(holders, [this](uint64_t ino) { return lent(ino); }, keep);
}

bool FileRanges::is_pinned() const {
  for (const auto& [serial, device] : whole_) {
    if (device->claims().counts().pins != 0) return true;
  }
  for (const auto& [ino, file] : files_) {
    for (const FileRange& range : file.ranges.ranges()) {
      if (file.device->claims().is_pinned(ino, range)) return true;
    }
  }
  return false;
}

Result<FileRanges::Flushed> FileRanges::flush(KernelPort& kernel, uint64_t from_bytes) const {
  Flushed flushed;
  for (const uint64_t ino : files()) {
    const auto whole = whole_.find(inode_serial(ino));
    const Device& device = whole == whole_.end() ? *files_.at(ino).device : *whole->second;
    // Only stores through a mapping dirty pages without a request; they need a writable open.
    if (!device.claims().has_writer(ino)) continue;
    bool is_tried = false, is_done = true;
    for (const FileRange& range : ranges(ino)) {
      if (range.length() < from_bytes) continue;
      auto written = kernel.flush(ino, range);
      if (written.err() == ETIMEDOUT) return std::unexpected(std::move(written).error());
      is_tried = true;
      is_done = is_done && written.has_value();
    }
    if (is_tried) ++flushed.tried;
    if (is_tried && is_done) ++flushed.done;
  }
  return flushed;
}

Result<void> FileRanges::inval(KernelPort& kernel) const {
  for (const uint64_t ino : files()) {
    PMEMD_TRY(fault_inval.hit());
    for (const FileRange& range : ranges(ino)) {
      auto gone = kernel.inval(ino, range);
      if (gone.err() == ENOENT) break;  // the kernel doesn't know the file
      if (!gone) return gone;
    }
  }
  return {};
}

Result<uint64_t> FileRanges::revoke(KernelPort& kernel, std::vector<Holder>& holders,
                                    int at_least) const {
  uint64_t left = 0;
  for (int attempt = 1; attempt <= kRevokeAttempts; ++attempt) {
    PMEMD_TRY(inval(kernel));
    left = count_present(holders, /*keep=*/false);
    if (left == 0 && attempt >= at_least) break;
  }
  return left;
}

}  // namespace pmemd
