// Does a pool hold together? Labels, info blocks, images, and SQLite's own check.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <utility>

#include "core/base/units.h"
#include "core/region/pool.h"
#include "core/region/pool_directory.h"
#include "core/region/schema.h"

namespace pmemd {
namespace {

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

// Rows of inodes whose namespace isn't there, and serials that may be given twice.
Result<void> check_serials(Database& database, const Labels& labels,
                           std::vector<Finding>& findings) {
  MutexLock lock(database.mutex());
  // A pool of version 2 has no table of volumes.
  const std::string serials =
      labels.volumes.empty() ? "SELECT serial FROM namespaces"
                             : "SELECT serial FROM namespaces UNION SELECT serial FROM volumes";
  PMEMD_ASSIGN(Statement strays,
               database.prepare(fmt::format("WITH used(serial, what) AS ("
                                            " SELECT ino >> {0}, 'inodes' FROM inodes UNION"
                                            " SELECT parent >> {0}, 'dirents' FROM dirents UNION"
                                            " SELECT ino >> {0}, 'extents' FROM extents UNION"
                                            " SELECT ino >> {0}, 'xattrs' FROM xattrs)"
                                            " SELECT what, serial FROM used"
                                            " WHERE serial NOT IN ({1})",
                                            kInodeSerialShift, serials)));
  for (;;) {
    PMEMD_ASSIGN(const bool row, strays.step());
    if (!row) break;
    findings.push_back({"pool.db", fmt::format("{} of serial {}, which no namespace has",
                                               strays.column_text(0), strays.column_int(1))});
  }
  PMEMD_ASSIGN(Statement reused,
               database.prepare(fmt::format(
                   "SELECT serial FROM ({}), meta WHERE serial >= next_serial", serials)));
  PMEMD_ASSIGN(const bool row, reused.step());
  if (row) {
    findings.push_back(
        {"pool.db", fmt::format("serial {} is in use, but next_serial is not above it",
                                reused.column_int(0))});
  }
  return {};
}

void check_images(const std::string& pool, const Labels& labels, std::vector<Finding>& findings) {
  std::error_code error;
  for (const auto& [region, live] : labels.regions) {
    if (!live) continue;
    const auto size = std::filesystem::file_size(image_path(pool, region.id), error);
    if (error) {
      findings.push_back({region.name(), "its image: " + error.message()});
    } else if (size != region.size_bytes) {
      findings.push_back({region.name(), fmt::format("its image has {} bytes, recorded are {}",
                                                     size, region.size_bytes)});
    }
  }
  std::filesystem::directory_iterator it(pool, error);
  for (const std::filesystem::directory_iterator end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    const bool known = std::ranges::any_of(labels.regions, [&](const RegionLabel& label) {
      return label.record.name() + ".img" == name;
    });
    if (name.starts_with("region") && name.ends_with(".img") && !known) {
      findings.push_back({name, "there is no such region"});
    }
  }
}

// What no namespace covers must be zero, or the next one would show old bytes.
Result<void> check_free_space(const std::string& pool, const Labels& labels,
                              std::vector<Finding>& findings) {
  for (const auto& [region, live] : labels.regions) {
    if (!live) continue;
    const auto image =
        ImageFile::open(image_path(pool, region.id), region.size_bytes, region.reservation);
    if (!image) continue;  // check_images() tells
    for (const RegionRange extent : labels.free_extents(region)) {
      PMEMD_ASSIGN(const auto mapped, image->map(extent));
      PMEMD_ASSIGN(const bool zero, mapped->is_zero(0, extent.length()));
      if (!zero) {
        findings.push_back({region.name(), fmt::format("free bytes in [{:#x}, {:#x}) are not zero",
                                                       extent.begin, extent.end)});
      }
    }
  }
  return {};
}

}  // namespace

// By a connection of its own, so that a running daemon isn't stopped by it.
Result<std::vector<Finding>> check_regions(Pool& pool) {
  PMEMD_ASSIGN(const auto database,
               Database::open(database_path(pool.path()), Database::Mode::kReadOnly));
  std::vector<Finding> findings;
  PMEMD_TRY(check_integrity(*database, findings));
  PMEMD_ASSIGN(const Labels labels, load_labels(*database));
  std::ranges::move(check_labels(labels), std::back_inserter(findings));
  if (!findings.empty()) return findings;  // what comes now relies on them
  PMEMD_TRY(check_serials(*database, labels, findings));
  check_images(pool.path(), labels, findings);
  PMEMD_TRY(check_free_space(pool.path(), labels, findings));
  for (const NamespaceRecord& record : pool.namespaces()) {
    if (const auto image = pool.map_namespace(record); !image) {
      findings.push_back({record.name(), image.error().message});
    }
  }
  return findings;
}

}  // namespace pmemd
