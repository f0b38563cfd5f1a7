#include "daemon/host/tuning.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <string_view>

#include "core/base/unique_fd.h"
#include "core/base/units.h"

namespace pmemd {

namespace {

std::string setting_path(dev_t device_number, std::string_view name) {
  return fmt::format("/sys/class/bdi/{}:{}/{}", major(device_number), minor(device_number), name);
}

Result<void> set(dev_t device_number, std::string_view name, std::string_view value) {
  const std::string path = setting_path(device_number, name);
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || write(fd.get(), value.data(), value.size()) < 0) return fail_errno(path);
  return {};
}

// Allows all of the system's dirty limit, without a lower one of our own.
Result<void> raise_dirty_limit(dev_t device_number) {
  auto strict = set(device_number, "strict_limit", "0");
  if (!strict && strict.err() != ENOENT) return strict;  // ENOENT: before Linux 6.2
  return set(device_number, "max_ratio", "100");
}

// Keeps the limit strictly enforced, as it is by default.
Result<void> limit_dirty(dev_t device_number, uint64_t bytes) {
  auto limited = set(device_number, "max_bytes", std::to_string(bytes));
  // EINVAL: the system's own limit is lower. ENOENT: before Linux 6.2; 1 % of that limit, then.
  if (limited.err() == EINVAL) return set(device_number, "max_ratio", "100");
  if (limited.err() == ENOENT) return {};
  return limited;
}

}  // namespace

Result<void> tune_mount(dev_t device_number, std::optional<uint64_t> group_limit) {
  PMEMD_TRY(group_limit ? limit_dirty(device_number, *group_limit / 4)
                        : raise_dirty_limit(device_number));
  return set(device_number, "read_ahead_kb", "2048");  // sequential first touch: one READ per 2 MiB
}

uint64_t readahead_bytes(dev_t device_number) {
  std::ifstream file(setting_path(device_number, "read_ahead_kb"));
  uint64_t kib = 0;
  return file >> kib && kib != 0 ? kib * kKiB : 128 * kKiB;
}

}  // namespace pmemd
