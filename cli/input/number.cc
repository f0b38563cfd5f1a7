#include "cli/input/number.h"

#include <fmt/format.h>

#include <charconv>

#include "core/base/units.h"

namespace pmemd::cli {

Result<uint64_t> parse_number(std::string_view text) {
  const bool is_hex = text.starts_with("0x") || text.starts_with("0X");
  const char* const end = text.data() + text.size();
  uint64_t value = 0;
  const auto [stopped, error] =
      std::from_chars(text.data() + (is_hex ? 2 : 0), end, value, is_hex ? 16 : 10);
  if (error == std::errc::invalid_argument || stopped != end) {
    return fail(EINVAL, fmt::format("'{}' is not a number", text),
                "decimal, or hexadecimal with 0x");
  }
  if (error != std::errc() || value > INT64_MAX) {
    return fail(ERANGE, fmt::format("'{}' is more than 2^63 - 1", text));
  }
  return value;
}

Result<uint64_t> parse_count(std::string_view text) {
  auto number = parse_number(text);
  if (number && *number == 0) return fail(EINVAL, fmt::format("'{}': at least 1", text));
  return number;
}

Result<uint64_t> parse_address(std::string_view text) {
  auto number = parse_number(text);
  if (number || number.err() == ERANGE) return number;
  if (auto size = parse_size(text)) return size;
  return fail(EINVAL, fmt::format("'{}' is not an address", text),
              "decimal, hexadecimal with 0x, or with a unit as 4G");
}

}  // namespace pmemd::cli
