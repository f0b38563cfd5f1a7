#include "cli/output/table.h"

#include <algorithm>
#include <cassert>
#include <numeric>

namespace pmemd::cli {

namespace {

constexpr size_t kGap = 2;
constexpr size_t kMinElasticWidth = 12;

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// In characters; one that takes two columns or none on a terminal counts as one.
size_t width_of(std::string_view text) {
  return text.size() - std::count_if(text.begin(), text.end(), continues_character);
}

// The position after the first `count` characters.
size_t behind(const std::string& text, size_t count) {
  size_t at = 0;
  for (; count > 0; --count) {
    do ++at;
    while (at < text.size() && continues_character(text[at]));
  }
  return at;
}

std::string shorten(const std::string& text, size_t width, Table::Elastic elastic) {
  const size_t have = width_of(text);
  if (elastic == Table::Elastic::kNothing || have <= width) return text;
  if (elastic == Table::Elastic::kEnd) return text.substr(0, behind(text, width - 1)) + "…";
  return "…" + text.substr(behind(text, have - width + 1));
}

int width_index() {
  static const int index = std::ios_base::xalloc();
  return index;
}

}  // namespace

void set_table_width(std::ostream& out, size_t characters) {
  out.iword(width_index()) = static_cast<long>(characters);
}

std::string printable(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (c == 0xc2 && 0x80 <= next && next <= 0x9f) {  // C1 control characters in UTF-8
      result += '?';
      ++i;
    } else {
      result += c < 0x20 || c == 0x7f ? '?' : text[i];
    }
  }
  return result;
}

void Table::add(std::vector<std::string> cells) {
  assert(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

void Table::print(std::ostream& out) const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t width = width_of(columns_[i].title);
    for (const auto& row : rows_) width = std::max(width, width_of(row[i]));
    widths.push_back(width);
  }
  const size_t total = std::accumulate(widths.begin(), widths.end(), kGap * (columns_.size() - 1));
  const auto max_width = static_cast<size_t>(out.iword(width_index()));
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (max_width == 0 || total <= max_width) break;
    if (columns_[i].elastic == Elastic::kNothing || widths[i] <= kMinElasticWidth) continue;
    widths[i] -= std::min(total - max_width, widths[i] - kMinElasticWidth);
  }

  const auto print_line = [&](const auto& cell) {
    std::string line;
    for (size_t i = 0; i < columns_.size(); ++i) {
      const std::string text = shorten(cell(i), widths[i], columns_[i].elastic);
      const std::string padding(widths[i] - std::min(widths[i], width_of(text)), ' ');
      if (i > 0) line.append(kGap, ' ');
      line += columns_[i].align == Align::kRight ? padding + text : text + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  };
  print_line([&](size_t i) { return columns_[i].title; });
  for (const auto& row : rows_) print_line([&](size_t i) { return row[i]; });
}

}  // namespace pmemd::cli
