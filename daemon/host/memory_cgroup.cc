#include "daemon/host/memory_cgroup.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <ranges>
#include <string_view>
#include <vector>

namespace pmemd {
namespace {

// What version 1 reports, rounded down to pages, if there is no limit.
constexpr uint64_t kUnlimited = INT64_MAX & ~uint64_t{0xffff};

struct Hierarchy {
  std::string directory;
  std::vector<std::string> files;
};

std::optional<uint64_t> read_limit(const std::string& path) {
  std::ifstream file(path);
  uint64_t bytes = 0;
  if (!(file >> bytes) || bytes >= kUnlimited) return std::nullopt;  // "max", or no such file
  return bytes;
}

// In a container whose view begins at the group itself, its path leads nowhere, and the top is the
// group.
std::optional<uint64_t> least_limit(const Hierarchy& hierarchy, std::string path) {
  std::optional<uint64_t> least;
  for (;;) {
    for (const std::string& file : hierarchy.files) {
      const auto limit = read_limit(fmt::format("{}{}/{}", hierarchy.directory, path, file));
      if (limit) least = std::min(least.value_or(*limit), *limit);
    }
    if (path.empty()) return least;
    path.resize(path.rfind('/'));
  }
}

// "blkio,memory"
bool has_memory(std::string_view controllers) {
  return std::ranges::any_of(controllers | std::views::split(','), [](const auto& word) {
    return std::string_view(word.begin(), word.end()) == "memory";
  });
}

}  // namespace

std::optional<uint64_t> memory_cgroup_limit(const std::string& root) {
  const Hierarchy unified = {root + "/sys/fs/cgroup", {"memory.max", "memory.high"}};
  const Hierarchy legacy = {root + "/sys/fs/cgroup/memory", {"memory.limit_in_bytes"}};
  std::optional<uint64_t> least;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "4:memory:/path"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && !has_memory(controllers)) continue;
    std::string path = line.substr(second + 1);
    if (!path.starts_with('/') || path == "/") path.clear();
    const auto limit = least_limit(controllers.empty() ? unified : legacy, std::move(path));
    if (limit) least = std::min(least.value_or(*limit), *limit);
  }
  return least;
}

}  // namespace pmemd
