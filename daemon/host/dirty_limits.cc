#include "daemon/host/dirty_limits.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <ranges>
#include <utility>

#include "core/base/unique_fd.h"
#include "core/base/units.h"

namespace pmemd {
namespace {

Result<uint64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  uint64_t number = 0;
  if (file >> number) return number;
  return fail(EIO, path + ": no number there");
}

Result<void> write_number(const std::string& path, uint64_t number) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const std::string text = fmt::format("{}\n", number);
  if (!fd || write(fd.get(), text.data(), text.size()) < 0) return fail_errno(path);
  return {};
}

}  // namespace

Result<void> RaisedDirtyLimits::raise_one(const std::string& path, uint64_t wanted) {
  PMEMD_ASSIGN(const uint64_t before, read_number(path));
  if (before >= wanted) return {};
  PMEMD_TRY(write_number(path, wanted));
  changes_.push_back({path, before, wanted});
  return {};
}

Result<std::unique_ptr<RaisedDirtyLimits>> RaisedDirtyLimits::raise(const std::string& directory) {
  // Only one of the two units is in effect; the other reads as 0.
  for (const char* name : {"dirty_bytes", "dirty_background_bytes"}) {
    const std::string path = directory + "/" + name;
    PMEMD_ASSIGN(const uint64_t bytes, read_number(path));
    if (bytes != 0) {
      return fail(EBUSY, fmt::format("{}: set to {}", path, format_size(bytes)),
                  "raise it there, or set vm.dirty_ratio and vm.dirty_background_ratio instead");
    }
  }
  std::unique_ptr<RaisedDirtyLimits> raised(new RaisedDirtyLimits);
  // The hard limit first: a background limit that isn't lower is taken as half of it.
  PMEMD_TRY(raised->raise_one(directory + "/dirty_ratio", kRatio));
  PMEMD_TRY(raised->raise_one(directory + "/dirty_background_ratio", kBackgroundRatio));
  return raised;
}

RaisedDirtyLimits::~RaisedDirtyLimits() {
  for (const Change& change : changes_ | std::views::reverse) {
    const auto now = read_number(change.path);
    if (now && *now == change.after) (void)write_number(change.path, change.before);
  }
}

uint64_t host_dirty_background_bytes() {
  std::ifstream lines("/proc/vmstat");
  std::string key;
  uint64_t value = 0;
  while (lines >> key >> value) {
    if (key == "nr_dirty_background_threshold") return value * kPageSize;
  }
  return 0;
}

}  // namespace pmemd
