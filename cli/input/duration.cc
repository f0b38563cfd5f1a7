#include "cli/input/duration.h"

#include <fmt/format.h>

#include <charconv>

namespace pmemd::cli {

Result<uint64_t> parse_duration_ms(std::string_view text) {
  constexpr uint64_t kMaxMs = uint64_t{366} * 24 * 3600 * 1000;
  const auto invalid = [&](int err, std::string_view cause) {
    return fail(err, fmt::format("time '{}': {}", text, cause), "write 500ms, 5s, 2m or 1h");
  };
  uint64_t number = 0;
  const auto [rest, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec == std::errc::result_out_of_range) return invalid(ERANGE, "too long");
  if (ec != std::errc()) return invalid(EINVAL, "not a number");
  const std::string_view unit(rest, static_cast<size_t>(text.data() + text.size() - rest));
  uint64_t factor = 0;
  if (unit == "ms") factor = 1;
  if (unit == "s") factor = 1000;
  if (unit == "m" || unit == "min") factor = 60 * 1000;
  if (unit == "h") factor = 3600 * 1000;
  if (factor == 0) return invalid(EINVAL, unit.empty() ? "no unit" : "unknown unit");
  if (number > kMaxMs / factor) return invalid(ERANGE, "too long");
  return number * factor;
}

std::string format_us(uint64_t us) {
  const auto value = static_cast<double>(us);
  if (us < 1000) return fmt::format("{} us", us);
  if (us < 1000 * 1000) return fmt::format("{:.1f} ms", value / 1e3);
  return fmt::format("{:.1f} s", value / 1e6);
}

}  // namespace pmemd::cli
