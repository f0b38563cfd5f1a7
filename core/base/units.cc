#include "core/base/units.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <charconv>
#include <limits>

namespace pmemd {

Result<uint64_t> parse_size(std::string_view text) {
  const auto invalid = [&](int err, std::string_view cause) {
    return fail(err, fmt::format("size '{}': {}", text, cause),
                "write a number and a unit: 64M, 1G, 1T");
  };
  uint64_t number = 0;
  const auto [rest, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec == std::errc::result_out_of_range) return invalid(ERANGE, "too large");
  if (ec != std::errc()) return invalid(EINVAL, "not a number");

  std::string unit;
  for (const char* c = rest; c != text.data() + text.size(); ++c) {
    unit += static_cast<char>(std::tolower(static_cast<unsigned char>(*c)));
  }
  uint64_t factor = 1;
  if (!unit.empty() && unit != "b") {
    const size_t power = std::string_view("kmgt").find(unit[0]);
    const std::string_view tail = std::string_view(unit).substr(1);
    if (power == std::string_view::npos || (!tail.empty() && tail != "b" && tail != "ib")) {
      return invalid(EINVAL, "unknown unit");
    }
    factor = uint64_t{1} << (10 * (power + 1));
  }
  if (number == 0) return invalid(EINVAL, "must not be zero");
  if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / factor) {
    return invalid(ERANGE, "too large");
  }
  return number * factor;
}

std::string format_size(uint64_t bytes) {
  static constexpr std::array<std::string_view, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  auto value = static_cast<double>(bytes);
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  const bool whole = value == static_cast<double>(static_cast<uint64_t>(value));
  return whole ? fmt::format("{:.0f} {}", value, kUnits[unit])
               : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string format_count(uint64_t count, std::string_view one) {
  return fmt::format("{} {}{}", count, one, count == 1 ? "" : "s");
}

}  // namespace pmemd
