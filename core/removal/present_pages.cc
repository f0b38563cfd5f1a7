// Which pages of a mapping are there, from /proc/PID/pagemap.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "core/base/unique_fd.h"
#include "core/base/units.h"
#include "core/removal/holders.h"

namespace pmemd {
namespace {

// The file itself: one 64-bit entry per page.
constexpr uint64_t kPagemapPresent = uint64_t{1} << 63;
constexpr uint64_t kPagemapFilePage = uint64_t{1} << 61;

// include/uapi/linux/fs.h PAGEMAP_SCAN @v6.7, which Debian 12's headers don't have: ranges of pages
// of one kind, in one call.
constexpr uint64_t kPageIsFile = 1U << 2;
constexpr uint64_t kPageIsPresent = 1U << 3;
struct PageRegion {
  uint64_t start, end, categories;
};
struct PagemapScan {
  uint64_t size, flags;
  uint64_t start, end, walk_end;
  uint64_t vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScan);

// `kind`: flags a page must have. nullopt: this kernel lacks the ioctl.
std::optional<uint64_t> scan(int pagemap, AddressRange addresses, uint64_t kind) {
  std::array<PageRegion, 256> regions{};
  PagemapScan request{};
  request.size = sizeof(request);
  request.end = addresses.end;
  request.vec = reinterpret_cast<uint64_t>(regions.data());
  request.vec_len = regions.size();
  request.category_mask = request.return_mask = kind;
  uint64_t pages = 0;
  for (uint64_t at = addresses.begin; at < addresses.end; at = request.walk_end) {
    request.start = at;
    const int found = ioctl(pagemap, kPagemapScan, &request);
    if (found < 0) {
      if (errno == ENOTTY) return {};
      return pages;  // the process is gone
    }
    for (size_t i = 0; i < static_cast<size_t>(found); ++i) {
      pages += (regions.at(i).end - regions.at(i).start) / kPageSize;
    }
    if (request.walk_end <= at) break;
  }
  return pages;
}

uint64_t read_entries(int pagemap, AddressRange addresses) {
  std::array<uint64_t, 4096> entries{};
  uint64_t present = 0;
  for (uint64_t at = addresses.begin; at < addresses.end;) {
    const uint64_t pages = std::min<uint64_t>((addresses.end - at) / kPageSize, entries.size());
    const ssize_t got = pread(pagemap, entries.data(), pages * sizeof(uint64_t),
                              static_cast<off_t>(at / kPageSize * sizeof(uint64_t)));
    if (got <= 0) return present;  // the process is gone, or its address space ends here
    const auto entries_read = static_cast<size_t>(got) / sizeof(uint64_t);
    for (size_t i = 0; i < entries_read; ++i) {
      constexpr uint64_t kWanted = kPagemapPresent | kPagemapFilePage;
      if ((entries.at(i) & kWanted) == kWanted) ++present;
    }
    at += entries_read * kPageSize;
  }
  return present;
}

}  // namespace

Result<uint64_t> count_present_pages(pid_t pid, const Mapping& mapping,
                                     const std::vector<FileRange>& parts) {
  if (parts.empty()) return 0;
  const std::string path = fmt::format("/proc/{}/pagemap", pid);
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT || errno == ESRCH) return 0;
    return fail_errno(path);
  }
  // All pages of a shared mapping are the file's: not asking for that flag saves the kernel a look
  // at each page.
  const uint64_t kind = kPageIsPresent | (mapping.is_private ? kPageIsFile : 0);
  uint64_t present = 0;
  uint64_t counted_until = 0;  // two parts may lie in one page
  for (const FileRange& part : parts) {
    FileRange range = part.intersect(mapping.range);
    if (range.empty()) continue;
    range = range.widened_to(kPageSize);
    range.begin = std::max(range.begin, counted_until);
    if (range.empty()) continue;
    counted_until = range.end;
    const auto addresses = AddressRange::sized(
        mapping.addresses.begin + (range.begin - mapping.range.begin), range.length());
    const auto scanned = scan(fd.get(), addresses, kind);
    present += scanned ? *scanned : read_entries(fd.get(), addresses);
  }
  return present;
}

uint64_t count_present_pages(std::vector<Holder>& holders, const PartsOf& parts_of, bool keep) {
  uint64_t total = 0;
  std::map<uint64_t, std::vector<FileRange>> parts;
  for (Holder& holder : holders) {
    if (holder.fate != Holder::Fate::kHolds) continue;
    for (Mapping& mapping : holder.mappings) {
      const auto [of_inode, is_new] = parts.try_emplace(mapping.ino);
      if (is_new) of_inode->second = parts_of(mapping.ino);
      const auto present = count_present_pages(holder.pid, mapping, of_inode->second);
      if (!present) continue;
      if (keep) mapping.pages_present = *present;
      total += *present;
    }
  }
  return total;
}

}  // namespace pmemd
