#include "tests/stress/support/damage.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <random>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"
#include "core/pool/columns.h"
#include "core/pool/info_block.h"

namespace pmemd {
namespace {

using Random = std::mt19937_64;

// What a column is set to; {0} is its name, {1} its table.
constexpr std::array<std::string_view, 31> kValues = {
    "-1",
    "0",
    "1",
    "2",
    "4096",
    "4097",
    "2097152",
    "2147483648",
    "4294967295",
    "1099511627776",
    "1099511627777",
    "4503599627370496",
    "4611686018427387904",
    "9223372036854775807",
    "-9223372036854775808",
    "NULL",
    "'abc'",
    "''",
    "x''",
    "x'00ff2f'",
    "x'2e2e'",
    "1.5",
    "zeroblob(70000)",
    "{0} + 1",
    "{0} - 1",
    "{0} + 4096",
    "-{0}",
    "{0} | (1 << 41)",
    "CAST({0} AS TEXT)",
    "(SELECT min({0}) FROM {1})",
    "(SELECT max({0}) FROM {1})",
};

class Sql {
 public:
  explicit Sql(const std::string& path) {
    sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE, nullptr);
    run("PRAGMA ignore_check_constraints = ON");
  }
  ~Sql() { sqlite3_close(db_); }
  Sql(const Sql&) = delete;
  Sql& operator=(const Sql&) = delete;

  bool run(const std::string& sql) {
    return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK;
  }
  int changes() const { return sqlite3_changes(db_); }
  int64_t number(const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr);
    const int64_t value =
        sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return value;
  }

 private:
  sqlite3* db_ = nullptr;
};

// With the columns' NOT NULL taken away for the time of it, so that there can be NULLs.
bool change(const std::string& directory, const std::string& sql, bool is_relaxed) {
  const std::string path = directory + "/pool.db";
  if (is_relaxed) {
    Sql relax(path);
    relax.run("CREATE TABLE kept AS SELECT rowid AS id, sql FROM sqlite_master");
    relax.run("PRAGMA writable_schema = ON");
    relax.run("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table'");
  }
  bool is_done = false;
  {
    Sql update(path);
    is_done = update.run(sql) && update.changes() > 0;
  }
  if (is_relaxed) {
    Sql restore(path);
    restore.run("PRAGMA writable_schema = ON");
    restore.run(
        "UPDATE sqlite_master SET sql = (SELECT sql FROM kept WHERE id ="
        " sqlite_master.rowid) WHERE rowid IN (SELECT id FROM kept)");
    restore.run("PRAGMA writable_schema = RESET");
    restore.run("DROP TABLE kept");
  }
  return is_done;
}

// A row of a table, as a condition: any, by its place in the table's order.
std::string one_row(const std::string& directory, const std::string& table, Random& random) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kKeys = {{
      {"volume_legs", "volume, position"},
      {"extents", "ino, file_offset"},
      {"xattrs", "ino, name"},
      {"badblocks", "region, kind, start"},
      {"settings", "serial, name"},
  }};
  std::string key = "rowid";
  for (const auto& [of, columns] : kKeys) {
    if (of == table) key = columns;
  }
  const auto rows =
      static_cast<uint64_t>(Sql(directory + "/pool.db").number("SELECT count(*) FROM " + table));
  return fmt::format("({0}) IN (SELECT {0} FROM {1} LIMIT 1 OFFSET {2})", key, table,
                     rows == 0 ? 0 : random() % rows);
}

std::optional<std::string> change_value(const std::string& directory, uint64_t index,
                                        Random& random) {
  const auto columns = all_columns();
  const Column& column = columns[index % columns.size()];
  const std::string table(column.table);
  const std::string_view text = kValues[index / columns.size() % kValues.size()];
  const std::string value = fmt::format(fmt::runtime(text), column.name, column.table);
  const std::string sql = fmt::format("UPDATE {} SET {} = {} WHERE {}", table, column.name, value,
                                      one_row(directory, table, random));
  if (!change(directory, sql, text == "NULL")) return std::nullopt;
  return sql;
}

std::optional<std::string> change_row(const std::string& directory, Random& random) {
  const auto columns = all_columns();
  const std::string table(columns[random() % columns.size()].table);
  const std::string row = one_row(directory, table, random);
  std::string sql = fmt::format("DELETE FROM {} WHERE {}", table, row);
  if (random() % 2 == 0) {
    // The first column, or all, or all but the last, moved on.
    std::string names, values;
    const uint64_t moved = random() % 3;
    uint64_t at = 0;
    for (const Column& column : columns) {
      if (column.table != table) continue;
      const bool moves = column.type == Column::Type::kInteger && (moved > 0 || at == 0);
      names += (at == 0 ? "" : ", ") + std::string(column.name);
      values += fmt::format("{}{}{}", at == 0 ? "" : ", ", column.name,
                            moves && (moved < 2 || at % 2 == 0) ? " + 1" : "");
      ++at;
    }
    sql = fmt::format("INSERT INTO {0} ({1}) SELECT {2} FROM {0} WHERE {3}", table, names, values,
                      row);
  }
  if (!change(directory, sql, false)) return std::nullopt;
  return sql;
}

// Flips bits, zeroes a block or cuts the file, within [begin, end).
std::optional<std::string> change_file(const std::string& path, uint64_t begin, uint64_t end,
                                       bool only_bits, Random& random) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  struct stat status = {};
  if (!fd || ::fstat(fd.get(), &status) != 0) return std::nullopt;
  end = std::min(end, static_cast<uint64_t>(status.st_size));
  if (begin >= end) return std::nullopt;
  const uint64_t at = begin + random() % (end - begin);
  const uint64_t how = only_bits ? 0 : random() % 8;
  if (how == 7) {
    if (::ftruncate(fd.get(), static_cast<off_t>(at)) != 0) return std::nullopt;
    return fmt::format("{} cut at {}", path, at);
  }
  if (how == 6) {
    const std::string zeros(512U << (random() % 4), '\0');
    const uint64_t block = at / zeros.size() * zeros.size();
    if (::pwrite(fd.get(), zeros.data(), zeros.size(), static_cast<off_t>(block)) < 0) return {};
    return fmt::format("{} zeroed at {}, {} bytes", path, block, zeros.size());
  }
  std::string done;
  const uint64_t bits = 1 + (how < 4 ? 0 : random() % 8);
  for (uint64_t i = 0; i < bits; ++i) {
    const uint64_t offset = begin + random() % (end - begin);
    const auto bit = static_cast<unsigned>(random() % 8);
    unsigned char byte = 0;
    if (::pread(fd.get(), &byte, 1, static_cast<off_t>(offset)) != 1) return std::nullopt;
    byte = static_cast<unsigned char>(byte ^ (1U << bit));
    if (::pwrite(fd.get(), &byte, 1, static_cast<off_t>(offset)) != 1) return std::nullopt;
    done += fmt::format("{} bit {} of byte {}; ", path, bit, offset);
  }
  return done;
}

}  // namespace

const char* name_of(DamageKind kind) {
  static constexpr std::array<const char*, kDamageKinds.size()> kNames = {
      "Value", "Row", "Database", "Wal", "Image", "Data"};
  return kNames.at(static_cast<size_t>(kind));
}

bool is_of_extents(DamageKind kind, const std::string& what) {
  const bool is_sql = kind == DamageKind::kValue || kind == DamageKind::kRow;
  return is_sql && what.find(" extents ") != what.npos;
}

uint64_t value_damages() { return all_columns().size() * kValues.size(); }

std::optional<std::string> damage(const std::string& directory, DamageKind kind, uint64_t index,
                                  uint64_t seed) {
  Random random(seed);
  const std::string image = fmt::format("{}/region{}.img", directory, random() % 4);
  switch (kind) {
    case DamageKind::kValue:
      return change_value(directory, index, random);
    case DamageKind::kRow:
      return change_row(directory, random);
    case DamageKind::kDatabase:
      return change_file(directory + "/pool.db", 0, UINT64_MAX, false, random);
    case DamageKind::kWal:
      return change_file(directory + "/pool.db-wal", 0, UINT64_MAX, false, random);
    case DamageKind::kImage:
      return change_file(image, kInfoBlockOffset, kInfoBlockOffset + kInfoBlockSize, false, random);
    case DamageKind::kData:
      return change_file(image, kNamespaceMetadataSize, UINT64_MAX, true, random);
  }
  return std::nullopt;
}

}  // namespace pmemd
