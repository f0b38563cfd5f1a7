// Checks that the database has the schema that this version makes: a damaged one may have lost an
// index that keeps names unique, or the columns of an index.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <utility>

#include "core/pool/check.h"
#include "core/pool/upgrade.h"

namespace pmemd {
namespace {

// From "table dirents" or "index orphans" to its columns, in a text that depends only on them.
using Shapes = std::map<std::string, std::string>;

// Without spaces and comments, which have changed from version to version.
std::string normalized(std::string_view sql) {
  std::string text;
  for (size_t at = 0; at < sql.size(); ++at) {
    if (sql.substr(at, 2) == "--") {
      at = std::min(sql.find('\n', at), sql.size());
      continue;
    }
    if (std::string_view(" \n\t").find(sql[at]) == std::string_view::npos) text += sql[at];
  }
  return text;
}

Result<Shapes> read_shapes(Database& database) {
  Shapes shapes;
  PMEMD_ASSIGN(Statement rows, database.prepare("SELECT type, name, ifnull(sql, '') FROM"
                                                " sqlite_master WHERE name != 'sqlite_stat1'"));
  for (;;) {
    PMEMD_ASSIGN(const bool row, rows.step());
    if (!row) return shapes;
    shapes[rows.column_text(0) + " " + rows.column_text(1)] = normalized(rows.column_text(2));
  }
}

Result<Shapes> wanted_shapes(int32_t version) {
  PMEMD_ASSIGN(const auto fresh, Database::open_in_memory());
  MutexLock lock(fresh->mutex());
  PMEMD_TRY(make_tables(*fresh, 0, version));
  return read_shapes(*fresh);
}

}  // namespace

Result<void> check_schema(Database& database, std::vector<Finding>& findings) {
  PMEMD_ASSIGN(Statement version, database.prepare("PRAGMA user_version"));
  PMEMD_ASSIGN(const bool has_version, version.step());
  // From 1 on: a header that has been damaged to 0 must not turn the rules off.
  const int64_t number = has_version ? version.column_int(0) : 0;
  PMEMD_ASSIGN(const Shapes wanted,
               wanted_shapes(static_cast<int32_t>(std::clamp<int64_t>(number, 1, kPoolVersion))));
  PMEMD_ASSIGN(const Shapes found, read_shapes(database));
  for (const auto& [name, shape] : wanted) {
    const auto there = found.find(name);
    if (there == found.end()) {
      findings.push_back({"pool.db", name + " is missing"});
    } else if (there->second != shape) {
      findings.push_back({"pool.db", name + " is not as this version makes it"});
    }
  }
  for (const auto& [name, shape] : found) {
    if (!wanted.contains(name)) findings.push_back({"pool.db", name + " is none of a pool's"});
  }
  return {};
}

}  // namespace pmemd
