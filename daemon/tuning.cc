#include "daemon/tuning.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/unique_fd.h"
#include "core/base/units.h"

namespace pmemd {

namespace {

std::string setting_path(dev_t device_number, std::string_view name) {
  return fmt::format("/sys/class/bdi/{}:{}/{}", major(device_number), minor(device_number), name);
}

}  // namespace

Result<void> tune_mount(dev_t device_number) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kSettings = {{
      {"strict_limit", "0"},      // no limit of our own below the system's
      {"max_ratio", "100"},       // all of the system's dirty limit
      {"read_ahead_kb", "2048"},  // first touch in order: one READ for 2 MiB
  }};
  for (const auto& [name, value] : kSettings) {
    const std::string path = setting_path(device_number, name);
    const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd || write(fd.get(), value.data(), value.size()) < 0) {
      if (errno == ENOENT && name == "strict_limit") continue;  // before Linux 6.2
      return fail_errno(path);
    }
  }
  return {};
}

uint64_t readahead_bytes(dev_t device_number) {
  std::ifstream file(setting_path(device_number, "read_ahead_kb"));
  uint64_t kib = 0;
  return file >> kib && kib != 0 ? kib * kKiB : 128 * kKiB;
}

}  // namespace pmemd
