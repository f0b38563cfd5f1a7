#include "core/pool/upgrade.h"

#include <fmt/format.h>
#include <unistd.h>

#include "core/pool/pool_directory.h"

namespace pmemd {

Result<void> make_tables(Database& database, int32_t above, int32_t version) {
  for (const SchemaStep& step : kPoolSchemaSteps) {
    if (step.version > above && step.version <= version) PMEMD_TRY(database.execute(step.sql));
  }
  return {};
}

Result<void> upgrade_database(const std::string& pool, int32_t version) {
  if (version == kPoolVersion) return {};
  const std::string path = database_path(pool);
  PMEMD_ASSIGN(auto database, Database::open(path, Database::Mode::kReadWrite));
  {
    Transaction transaction(*database);
    PMEMD_TRY(transaction.begin());
    PMEMD_TRY(make_tables(*database, version));
    PMEMD_TRY(database->execute(fmt::format("PRAGMA user_version = {}", kPoolVersion)));
    PMEMD_TRY(transaction.commit());
  }
  database.reset();  // copies the WAL into the database, and removes it only if the copy succeeded
  if (::access((path + "-wal").c_str(), F_OK) == 0) {
    return fail(EIO, path + ": could not be upgraded", "check the host's disk");
  }
  return {};
}

}  // namespace pmemd
