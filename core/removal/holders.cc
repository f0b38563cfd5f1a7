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
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <sstream>
#include <string_view>

#include "core/base/unique_fd.h"
#include "core/base/units.h"

namespace pmemd {
namespace {

// The entries of a directory that are numbers: pids, descriptors.
std::vector<std::string> numbers_in(int parent, const char* name) {
  std::vector<std::string> names;
  const int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(fd < 0 ? nullptr : fdopendir(fd), closedir);
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

// "4321 (comm) S 1 …": comm may hold anything, even a parenthesis. The fields after it are numbered
// from 3, as in proc(5).
std::optional<ProcessStat> parse_stat(const std::string& line) {
  constexpr int kState = 3, kStarted = 22, kExitCode = 52;
  const size_t end_of_comm = line.rfind(')');
  if (end_of_comm == std::string::npos) return {};
  std::istringstream fields(line.substr(end_of_comm + 1));
  ProcessStat stat;
  std::string field;
  for (int at = kState; fields >> field; ++at) {
    if (at == kState) stat.state = field.front();
    if (at == kStarted) stat.started = std::strtoull(field.c_str(), nullptr, 10);
    if (at == kExitCode) stat.exit_code = std::atoi(field.c_str());
  }
  return stat;
}

std::string read_comm(const std::string& proc) {
  std::string comm;
  std::ifstream file(proc + "/comm");
  std::getline(file, comm);
  return comm;
}

// The parameters of a search, and the buffer that its looks share.
class Search {
 public:
  Search(dev_t device, const std::string& mount_point, const std::function<bool(uint64_t)>& wanted)
      : device_(device),
        mount_point_(mount_point),
        wanted_(wanted),
        column_(fmt::format(" {:02x}:{:02x} ", major(device), minor(device))) {}

  void find_mappings(int proc, Holder& holder) {
    const std::string_view maps = read_all(proc, "maps");
    // Few processes on a machine map anything of ours, so only lines that may be ours are parsed.
    for (size_t at = maps.find(column_); at != std::string_view::npos;
         at = maps.find(column_, at)) {
      const size_t begin = maps.rfind('\n', at) + 1;  // npos + 1 is 0
      at = std::min(maps.find('\n', at), maps.size());
      auto mapping = parse_maps_line(maps.substr(begin, at - begin), device_);
      if (!mapping || !wanted_(mapping->ino)) continue;
      mapping->path = cut_mount_point(mapping->path, mount_point_);
      holder.mappings.push_back(*std::move(mapping));
    }
  }

  void find_open_files(int proc, Holder& holder) const {
    const UniqueFd directory(openat(proc, "fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory) return;
    for (const std::string& name : numbers_in(proc, "fd")) {
      // DONT_SYNC: the kernel's cached attributes will do; the mount gets no request.
      struct statx st = {};
      if (statx(directory.get(), name.c_str(), AT_STATX_DONT_SYNC, STATX_INO, &st) != 0) continue;
      if (makedev(st.stx_dev_major, st.stx_dev_minor) != device_ || !wanted_(st.stx_ino)) continue;
      std::array<char, 4096> path{};
      const ssize_t length = readlinkat(directory.get(), name.c_str(), path.data(), path.size());
      if (length < 0) continue;
      const std::string_view target(path.data(), static_cast<size_t>(length));
      holder.open_files.push_back(
          {st.stx_ino, cut_mount_point(target, mount_point_), std::atoi(name.c_str())});
    }
  }

 private:
  // Valid until the next call. Empty: the process has ended, or we may not look at it.
  std::string_view read_all(int proc, const char* name) {
    const UniqueFd fd(openat(proc, name, O_RDONLY | O_CLOEXEC));
    size_t used = 0;
    while (fd) {
      if (used == text_.size()) text_.resize(std::max<size_t>(2 * used, 64 * kKiB));
      const ssize_t got = read(fd.get(), text_.data() + used, text_.size() - used);
      if (got <= 0) break;
      used += static_cast<size_t>(got);
    }
    return {text_.data(), used};
  }

  const dev_t device_;
  const std::string& mount_point_;
  const std::function<bool(uint64_t)>& wanted_;
  const std::string column_;  // the device as maps shows it
  std::vector<char> text_;
};

}  // namespace

std::string comm_of(pid_t pid) { return read_comm(fmt::format("/proc/{}", pid)); }

std::optional<ProcessStat> process_stat(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  const std::string text{std::istreambuf_iterator<char>(file), {}};  // comm may hold a newline
  return parse_stat(text);
}

std::string process_name(pid_t pid) {
  if (pid == 0) return "the kernel, or a process of another pid namespace";
  const std::string comm = comm_of(pid);
  return fmt::format("{} ({})", pid, comm.empty() ? "ended" : comm);
}

std::vector<Holder> find_holders(dev_t device, const std::string& mount_point,
                                 const std::function<bool(uint64_t ino)>& wanted) {
  std::vector<Holder> holders;
  Search search(device, mount_point, wanted);
  for (const std::string& name : numbers_in(AT_FDCWD, "/proc")) {
    Holder holder;
    holder.pid = std::atoi(name.c_str());
    if (holder.pid == getpid()) continue;
    const std::string path = "/proc/" + name;
    const UniqueFd proc(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!proc) continue;
    search.find_mappings(proc.get(), holder);
    search.find_open_files(proc.get(), holder);
    if (holder.mappings.empty() && holder.open_files.empty()) continue;
    holder.comm = read_comm(path);
    if (const auto stat = process_stat(holder.pid)) holder.started = stat->started;
    struct stat st = {};
    if (stat(path.c_str(), &st) == 0) holder.uid = st.st_uid;
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

}  // namespace pmemd
