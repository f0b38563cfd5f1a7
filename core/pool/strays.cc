#include "core/pool/strays.h"

#include <fmt/format.h>

#include <utility>

#include "core/pool/columns.h"
#include "core/pool/schema.h"

namespace pmemd {

Result<std::vector<Strays>> find_strays(Database& database, const Labels& labels) {
  std::vector<Strays> found;
  for (const auto& [table, column] : {std::pair("inodes", "ino"), std::pair("dirents", "parent"),
                                      std::pair("extents", "ino"), std::pair("xattrs", "ino")}) {
    // From one serial to the next; values that aren't numbers sort after all numbers.
    PMEMD_ASSIGN(Statement next,
                 database.prepare(fmt::format("SELECT {0} FROM {1} WHERE {0} > ? ORDER BY {0}"
                                              " LIMIT 1",
                                              column, table)));
    int64_t behind = INT64_MIN;
    for (;;) {
      PMEMD_ASSIGN(const bool row, next.bind(0, behind).step());
      if (!row || next.column_type(0) != Statement::Type::kInteger) break;
      const int64_t ino = next.column_int(0);
      const uint64_t serial = inode_serial(static_cast<uint64_t>(ino));
      const bool is_known = ino > 0 && (labels.find_namespace(serial) != nullptr ||
                                        labels.find_volume(serial) != nullptr);
      if (!is_known) found.push_back({table, serial});
      if (serial + 1 >= kSerialEnd && ino > 0) break;
      behind = static_cast<int64_t>(make_inode_number(serial + 1, 0)) - 1;
    }
    next.reset();
  }
  return found;
}

Result<void> refuse_strays(Database& database, const Labels& labels) {
  MutexLock lock(database.mutex());
  PMEMD_ASSIGN(const auto strays, find_strays(database, labels));
  if (strays.empty()) return {};
  return fail(EIO,
              fmt::format("pool.db: {} of serial {}, which no namespace has", strays.front().table,
                          strays.front().serial),
              kDamagedHint);
}

}  // namespace pmemd
