#include <fmt/format.h>

#include "cli/output/fields.h"
#include "cli/output/render.h"
#include "cli/output/table.h"

namespace pmemd::cli {
namespace {

using Align = Table::Align;

constexpr uint64_t kToTheEnd = INT64_MAX;

std::string range_of(const Json& reference) {
  const uint64_t begin = number_of(reference, "offset");
  const uint64_t end = begin + number_of(reference, "length");
  if (begin == 0 && end == kToTheEnd) return "whole file";
  return fmt::format("{:#x}-{:#x}", begin, end);
}

std::string kind_of(const Json& reference) {
  const std::string kind = text_of(reference, "kind");
  const std::string what = text_of(reference, "what");
  return what.empty() ? kind : kind + " " + what;
}

// "2026-11-21T10:00:00.000000Z" → "10:00:00.000": the day is usually today.
std::string time_of(const Json& reference) {
  const std::string since = text_of(reference, "since");
  return since.size() < 23 ? since : since.substr(11, 12);
}

}  // namespace

void render_references(std::ostream& out, const Json& references) {
  Table table({{"PID", Align::kRight},
               {"COMMAND"},
               {"KIND"},
               {"FILE", Align::kLeft, Table::Elastic::kBegin},
               {"RANGE"},
               {"SINCE (UTC)"}});
  for (const Json& reference : references) {
    const std::string kind = text_of(reference, "kind");
    const std::string file = text_of(reference, "file");
    table.add({text_of(reference, "pid"),
               kind == "lease"  ? "(page cache)"
               : kind == "page" ? "(device)"
                                : text_of(reference, "comm"),
               kind_of(reference), file.empty() ? "inode " + text_of(reference, "inode") : file,
               range_of(reference), time_of(reference)});
  }
  if (!table.empty()) table.print(out);
}

}  // namespace pmemd::cli
