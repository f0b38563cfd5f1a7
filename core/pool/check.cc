#include "core/pool/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iterator>
#include <span>
#include <utility>

#include "core/base/directory.h"
#include "core/base/units.h"
#include "core/pool/columns.h"
#include "core/pool/pool.h"
#include "core/pool/pool_directory.h"
#include "core/pool/strays.h"

namespace pmemd {
namespace {

constexpr int kFindingsPerRule = 100;

Result<void> check_integrity(Database& database, std::vector<Finding>& findings) {
  MutexLock lock(database.mutex());
  PMEMD_ASSIGN(Statement check, database.prepare("PRAGMA integrity_check"));
  for (;;) {
    PMEMD_ASSIGN(const bool row, check.step());
    if (!row) return {};
    if (const std::string line = check.column_text(0); line != "ok") {
      findings.push_back({"pool.db", line});
    }
  }
}

Result<void> check_references(Database& database, std::vector<Finding>& findings) {
  MutexLock lock(database.mutex());
  PMEMD_ASSIGN(Statement check, database.prepare("PRAGMA foreign_key_check"));
  for (int count = 0; count < kFindingsPerRule; ++count) {
    PMEMD_ASSIGN(const bool row, check.step());
    if (!row) return {};
    findings.push_back({"pool.db", fmt::format("{}: a row of {} that doesn't exist",
                                               check.column_text(0), check.column_text(2))});
  }
  return {};
}

// Each value of a table, by its column.
Result<void> check_table(Database& database, std::span<const Column> columns,
                         std::vector<Finding>& findings) {
  std::string names;
  for (const Column& column : columns) {
    names += (names.empty() ? "" : ", ") + std::string(column.name);
  }
  // Not by an index, whose contents may differ.
  PMEMD_ASSIGN(Statement rows, database.prepare(fmt::format("SELECT {} FROM {} NOT INDEXED", names,
                                                            columns.front().table)));
  int count = 0;
  for (;;) {
    PMEMD_ASSIGN(const bool row, rows.step());
    if (!row) return {};
    for (size_t i = 0; i < columns.size(); ++i) {
      const auto index = static_cast<int>(i);
      if (columns[i].accepts(rows, index)) continue;
      // The first columns say which row it is.
      findings.push_back(
          {"pool.db", fmt::format("{} (a row with {} {})", columns[i].problem(rows, index),
                                  columns.front().name, rows.column_int(0))});
      if (++count == kFindingsPerRule) return {};
    }
  }
}

Result<void> check_values(Database& database, std::vector<Finding>& findings) {
  MutexLock lock(database.mutex());
  const std::span<const Column> all = all_columns();
  for (size_t begin = 0; begin < all.size();) {
    size_t end = begin;
    while (end < all.size() && all[end].table == all[begin].table) ++end;
    const auto columns = all.subspan(begin, end - begin);
    begin = end;
    // check_schema() has reported missing tables of this version.
    PMEMD_ASSIGN(const bool is_there, database.has_table(columns.front().table));
    if (is_there) PMEMD_TRY(check_table(database, columns, findings));
  }
  return {};
}

// Rules over several values, or several rows, of tables that aren't a file system's. A query
// returns what is wrong, in words. An older pool lacks tables.
struct Rule {
  const char* table;
  const char* sql;
};
constexpr std::array kRules = {
    Rule{"badblocks",
         "SELECT 'bad blocks behind the end of region' || r.id FROM badblocks b"
         " JOIN regions r ON r.id = b.region WHERE b.start + b.length > r.size"},
    Rule{"badblocks",
         "SELECT 'known bad blocks of region' || region || ' that are not whole"
         " sectors' FROM badblocks WHERE kind = 0 AND (start | length) & 511"},
    Rule{"badblocks",
         "SELECT 'bad blocks of region' || region || ' that overlap' FROM"
         " (SELECT region, start, lag(start + length) OVER"
         "  (PARTITION BY region, kind ORDER BY start) AS before_end FROM badblocks)"
         " WHERE start < before_end"},
    Rule{"settings",
         "SELECT 'settings of serial ' || serial || ', which nothing has' FROM settings"
         " WHERE serial NOT IN"
         "  (SELECT serial FROM namespaces UNION SELECT serial FROM volumes)"},
    Rule{"events",
         "SELECT 'event ' || seq || ' may be told again' FROM events, meta"
         " WHERE seq >= next_event"},
    Rule{"events",
         "SELECT 'event ' || seq || ' with a part of a file' FROM events WHERE"
         " (file IS NULL) != (file_offset IS NULL)"
         " OR (file IS NULL) != (file_length IS NULL)"},
    Rule{"extent_checksums",
         "SELECT 'checksum of extents of serial ' || serial || ', which nothing"
         " has' FROM extent_checksums WHERE serial NOT IN"
         "  (SELECT serial FROM namespaces UNION SELECT serial FROM volumes)"},
};

Result<void> check_rules(Database& database, std::vector<Finding>& findings) {
  MutexLock lock(database.mutex());
  for (const auto& [table, sql] : kRules) {
    PMEMD_ASSIGN(const bool is_there, database.has_table(table));
    if (!is_there) continue;
    PMEMD_ASSIGN(Statement query, database.prepare(sql));
    for (int count = 0; count < kFindingsPerRule; ++count) {
      PMEMD_ASSIGN(const bool row, query.step());
      if (!row) break;
      findings.push_back({"pool.db", query.column_text(0)});
    }
  }
  return {};
}

Result<void> check_strays(Database& database, const Labels& labels,
                          std::vector<Finding>& findings) {
  MutexLock lock(database.mutex());
  PMEMD_ASSIGN(const auto strays, find_strays(database, labels));
  for (const auto& [table, serial] : strays) {
    findings.push_back(
        {"pool.db", fmt::format("{} of serial {}, which no namespace has", table, serial)});
  }
  return {};
}

Result<void> check_images(PoolView& view, std::vector<Finding>& findings) {
  const std::string& pool = view.pool().path();
  const Labels& labels = view.labels();
  std::vector<Finding> found;
  std::error_code error;
  for (const auto& [region, live] : labels.regions) {
    if (!live) continue;
    const auto size = std::filesystem::file_size(image_path(pool, region.id), error);
    if (error) {
      found.push_back({region.name(), "its image: " + error.message()});
    } else if (size != region.size_bytes) {
      found.push_back({region.name(), fmt::format("its image has {} bytes, recorded are {}", size,
                                                  region.size_bytes)});
    }
  }
  PMEMD_ASSIGN(const auto names, names_in(pool));
  for (const std::string& name : names) {
    const bool known = std::ranges::any_of(labels.regions, [&](const RegionLabel& label) {
      return label.record.name() + ".img" == name;
    });
    if (name.starts_with("region") && name.ends_with(".img") && !known) {
      found.push_back({name, "there is no such region"});
    }
  }
  if (view.has_same_regions()) std::ranges::move(found, std::back_inserter(findings));
  return {};
}

// Space that no namespace covers must be zero, or the next namespace there would show old bytes.
Result<void> check_free_space(PoolView& view, std::vector<Finding>& findings) {
  const std::string& pool = view.pool().path();
  const Labels& labels = view.labels();
  for (const auto& [region, live] : labels.regions) {
    if (!live) continue;
    const auto image =
        ImageFile::open(image_path(pool, region.id), region.size_bytes, region.reservation);
    if (!image) continue;  // check_images() reports it
    for (const RegionRange extent : labels.free_extents(region)) {
      PMEMD_ASSIGN(const auto mapped, image->map(extent));
      PMEMD_ASSIGN(const bool zero, mapped->is_zero(0, extent.length()));
      if (zero) continue;
      PMEMD_ASSIGN(const bool is_as_seen, view.has_no_new_label());
      if (is_as_seen) {
        findings.push_back({region.name(), fmt::format("free bytes in [{:#x}, {:#x}) are not zero",
                                                       extent.begin, extent.end)});
      }
    }
  }
  return {};
}

}  // namespace

Result<std::vector<Finding>> check_regions(PoolView& view) {
  std::vector<Finding> findings;
  Database& database = view.database();
  PMEMD_TRY(check_integrity(database, findings));
  {
    MutexLock lock(database.mutex());
    PMEMD_TRY(check_schema(database, findings));
  }
  if (!findings.empty()) return findings;  // the checks below rely on it
  PMEMD_TRY(check_references(database, findings));
  PMEMD_TRY(check_values(database, findings));
  if (!view.labels_error()) {
    findings.push_back({"pool.db", view.labels_error().error().message});
    return findings;
  }
  std::ranges::move(check_labels(view.labels()), std::back_inserter(findings));
  if (!findings.empty()) return findings;
  PMEMD_TRY(check_rules(database, findings));
  PMEMD_TRY(check_strays(database, view.labels(), findings));
  std::ranges::move(check_next_serial(view.labels()), std::back_inserter(findings));
  PMEMD_TRY(check_images(view, findings));
  PMEMD_TRY(check_free_space(view, findings));
  for (const auto& [record, live] : view.labels().namespaces) {
    if (!live) continue;
    const auto image = view.pool().map_namespace(record);
    if (image || !view.is_as_seen(record)) continue;
    findings.push_back({record.name(), image.error().message});
  }
  return findings;
}

}  // namespace pmemd
