#include "core/removal/holders.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>

#include "core/base/unique_fd.h"
#include "core/base/units.h"

namespace pmemd {
namespace {

// include/uapi/linux: /proc/PID/pagemap, one 64-bit entry a page.
constexpr uint64_t kPagemapPresent = uint64_t{1} << 63;
constexpr uint64_t kPagemapFilePage = uint64_t{1} << 61;

std::vector<std::string> entries_of(const std::string& directory) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), closedir);
  if (!dir) return names;
  while (const dirent* entry = readdir(dir.get())) {
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') names.emplace_back(entry->d_name);
  }
  return names;
}

template <class T>
bool take_number(std::string_view& text, T& value, int base, char behind) {
  const auto [rest, ec] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (ec != std::errc() || rest == text.data() + text.size() || *rest != behind) return false;
  text.remove_prefix(static_cast<size_t>(rest - text.data()) + 1);
  return true;
}

std::string cut_mount_point(std::string_view path, const std::string& mount_point) {
  const bool inside = path.starts_with(mount_point) &&
                      (path.size() == mount_point.size() || path[mount_point.size()] == '/');
  if (inside) path.remove_prefix(mount_point.size());
  return std::string(path);
}

// "7f00-7f10 rw-s 00001000 00:2d 1099511627777      /mnt/pmem0/a"
std::optional<Mapping> parse_maps_line(std::string_view line, dev_t device) {
  uint64_t begin = 0, end = 0, offset = 0, ino = 0;
  unsigned major_number = 0, minor_number = 0;
  if (!take_number(line, begin, 16, '-') || !take_number(line, end, 16, ' ')) return {};
  if (line.size() < 5) return {};
  const bool is_private = line[3] == 'p';
  line.remove_prefix(5);
  if (!take_number(line, offset, 16, ' ') || !take_number(line, major_number, 16, ':') ||
      !take_number(line, minor_number, 16, ' ') || !take_number(line, ino, 10, ' ')) {
    return {};
  }
  if (makedev(major_number, minor_number) != device) return {};
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  return Mapping{.ino = ino,
                 .path = std::string(line),
                 .range = FileRange::sized(offset, end - begin),
                 .addresses = {begin, end},
                 .is_private = is_private};
}

std::string read_comm(const std::string& proc) {
  std::string comm;
  std::ifstream file(proc + "/comm");
  std::getline(file, comm);
  return comm;
}

void find_mappings(const std::string& proc, dev_t device, const std::string& mount_point,
                   const std::function<bool(uint64_t)>& wanted, Holder& holder) {
  std::ifstream maps(proc + "/maps");
  for (std::string line; std::getline(maps, line);) {
    auto mapping = parse_maps_line(line, device);
    if (!mapping || !wanted(mapping->ino)) continue;
    mapping->path = cut_mount_point(mapping->path, mount_point);
    holder.mappings.push_back(*std::move(mapping));
  }
}

void find_open_files(const std::string& proc, dev_t device, const std::string& mount_point,
                     const std::function<bool(uint64_t)>& wanted, Holder& holder) {
  const std::string directory = proc + "/fd";
  for (const std::string& name : entries_of(directory)) {
    const std::string link = fmt::format("{}/{}", directory, name);
    // DONT_SYNC: what the kernel has cached will do; the mount isn't asked.
    struct statx st = {};
    if (statx(AT_FDCWD, link.c_str(), AT_STATX_DONT_SYNC, STATX_INO, &st) != 0) continue;
    if (makedev(st.stx_dev_major, st.stx_dev_minor) != device || !wanted(st.stx_ino)) continue;
    std::array<char, 4096> path{};
    const ssize_t length = readlink(link.c_str(), path.data(), path.size());
    if (length < 0) continue;
    const std::string_view target(path.data(), static_cast<size_t>(length));
    holder.open_files.push_back(
        {st.stx_ino, cut_mount_point(target, mount_point), std::atoi(name.c_str())});
  }
}

}  // namespace

std::string comm_of(pid_t pid) { return read_comm(fmt::format("/proc/{}", pid)); }

std::string process_name(pid_t pid) {
  if (pid == 0) return "the kernel, or a process of another pid namespace";
  const std::string comm = comm_of(pid);
  return fmt::format("{} ({})", pid, comm.empty() ? "ended" : comm);
}

std::vector<Holder> find_holders(dev_t device, const std::string& mount_point,
                                 const std::function<bool(uint64_t ino)>& wanted) {
  std::vector<Holder> holders;
  for (const std::string& name : entries_of("/proc")) {
    Holder holder;
    holder.pid = std::atoi(name.c_str());
    if (holder.pid == getpid()) continue;
    const std::string proc = "/proc/" + name;
    find_mappings(proc, device, mount_point, wanted, holder);
    find_open_files(proc, device, mount_point, wanted, holder);
    if (holder.mappings.empty() && holder.open_files.empty()) continue;
    holder.comm = read_comm(proc);
    struct stat st = {};
    if (stat(proc.c_str(), &st) == 0) holder.uid = st.st_uid;
    holders.push_back(std::move(holder));
  }
  return holders;
}

std::map<uint64_t, std::string> paths_of(const std::vector<Holder>& holders) {
  std::map<uint64_t, std::string> paths;
  for (const Holder& holder : holders) {
    for (const Mapping& mapping : holder.mappings) paths[mapping.ino] = mapping.path;
    for (const OpenFile& file : holder.open_files) paths[file.ino] = file.path;
  }
  return paths;
}

Result<uint64_t> count_present_pages(pid_t pid, const Mapping& mapping,
                                     const std::vector<FileRange>& parts) {
  const std::string path = fmt::format("/proc/{}/pagemap", pid);
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT || errno == ESRCH) return 0;
    return fail_errno(path);
  }
  uint64_t present = 0;
  uint64_t counted_until = 0;  // two parts may lie in one page
  std::array<uint64_t, 4096> entries{};
  for (const FileRange& part : parts) {
    FileRange range = part.intersect(mapping.range);
    if (range.empty()) continue;
    range.begin = std::max(align_down(range.begin, kPageSize), counted_until);
    counted_until = align_up(range.end, kPageSize);
    for (uint64_t offset = range.begin; offset < range.end;) {
      const uint64_t address = mapping.addresses.begin + (offset - mapping.range.begin);
      const uint64_t pages =
          std::min<uint64_t>((range.end - offset + kPageSize - 1) / kPageSize, entries.size());
      const ssize_t got = pread(fd.get(), entries.data(), pages * sizeof(uint64_t),
                                static_cast<off_t>(address / kPageSize * sizeof(uint64_t)));
      if (got <= 0) return present;  // the process is gone, or its address space ends here
      const auto entries_read = static_cast<size_t>(got) / sizeof(uint64_t);
      for (size_t i = 0; i < entries_read; ++i) {
        constexpr uint64_t kWanted = kPagemapPresent | kPagemapFilePage;
        if ((entries[i] & kWanted) == kWanted) ++present;
      }
      offset += entries_read * kPageSize;
    }
  }
  return present;
}

}  // namespace pmemd
