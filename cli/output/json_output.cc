#include "cli/output/json_output.h"

#include <fmt/format.h>

#include "core/base/units.h"

namespace pmemd::cli {

namespace {

void append_pretty(std::string& text, const Json& value, size_t indent) {
  if (!value.is_structured() || value.empty()) {
    text += one_line(value);
    return;
  }
  const std::string inner(indent + 2, ' ');
  text += value.is_array() ? "[" : "{";
  bool first = true;
  for (const auto& [key, element] : value.items()) {
    text += first ? "\n" : ",\n";
    first = false;
    text += inner;
    if (value.is_object()) text += one_line(key) + ":";
    append_pretty(text, element, indent + 2);
  }
  text += "\n" + std::string(indent, ' ') + (value.is_array() ? "]" : "}");
}

std::string human_size(uint64_t bytes) {
  const auto in = [bytes](double unit) { return static_cast<double>(bytes) / unit; };
  if (bytes < 2 * kGiB) return fmt::format("{:.2f} MiB ({:.2f} MB)", in(kMiB), in(1e6));
  if (bytes < 2 * kTiB) return fmt::format("{:.2f} GiB ({:.2f} GB)", in(kGiB), in(1e9));
  return fmt::format("{:.2f} TiB ({:.2f} TB)", in(kTiB), in(1e12));
}

}  // namespace

std::string pretty(const Json& value) {
  std::string text;
  append_pretty(text, value, 0);
  return text;
}

void print_objects(std::ostream& out, const Json& array) {
  if (array.empty()) return;
  out << pretty(array.size() == 1 ? array[0] : array) << '\n';
}

std::string one_line(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void humanize(Json& value) {
  constexpr uint64_t kShownAsNumber = 5000 * kKiB;  // below it
  for (auto& [key, element] : value.items()) {
    const bool is_size = key == "size" || key == "available_size" || key == "max_available_extent";
    if (element.is_structured()) {
      humanize(element);
    } else if (element.is_number_integer() && is_size) {
      const auto bytes = element.get<uint64_t>();
      if (bytes >= kShownAsNumber) element = human_size(bytes);
    } else if (element.is_number_integer() && key == "base") {
      element = fmt::format("{:#x}", element.get<uint64_t>());
    }
  }
}

}  // namespace pmemd::cli
