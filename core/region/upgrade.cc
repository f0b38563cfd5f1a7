#include "core/region/upgrade.h"

#include <fmt/format.h>
#include <unistd.h>

#include "core/region/database.h"
#include "core/region/pool_directory.h"
#include "core/region/schema.h"

namespace pmemd {

Result<void> upgrade_database(const std::string& pool, int32_t version) {
  if (version == kPoolVersion) return {};
  const std::string path = database_path(pool);
  PMEMD_ASSIGN(auto database, Database::open(path, Database::Mode::kReadWrite));
  {
    Transaction transaction(*database);
    PMEMD_TRY(transaction.begin());
    if (version < 3) PMEMD_TRY(database->execute(kPoolSchema3));
    PMEMD_TRY(database->execute(fmt::format("PRAGMA user_version = {}", kPoolVersion)));
    PMEMD_TRY(transaction.commit());
  }
  database.reset();  // copies the WAL into the database, and removes it only if that was done
  if (::access((path + "-wal").c_str(), F_OK) == 0) {
    return fail(EIO, path + ": could not be upgraded", "check the host's disk");
  }
  return {};
}

}  // namespace pmemd
