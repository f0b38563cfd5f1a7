// Making pools.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "core/base/units.h"
#include "core/pool/info_block.h"
#include "core/pool/placement.h"
#include "core/pool/pool.h"
#include "core/pool/pool_directory.h"
#include "core/pool/schema.h"
#include "core/pool/upgrade.h"

namespace pmemd {
namespace {

// Removes what was made so far, unless the creation completed.
struct Unfinished {
  explicit Unfinished(std::string pool_path) : pool(std::move(pool_path)) {}
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  ~Unfinished() {
    if (files) {
      ::unlink(image_path(pool, 0).c_str());
      for (const char* suffix : {"-wal", "-shm", ""}) {
        ::unlink((unborn_database_path(pool) + suffix).c_str());
      }
    }
    if (lock) ::unlink(lock_path(pool).c_str());
    if (directory) ::rmdir(pool.c_str());
  }
  void finish() { directory = lock = files = false; }

  const std::string pool;
  bool directory = false;
  bool lock = false;
  bool files = false;
};

Result<UniqueFd> enter_directory(const SafeEntry& entry, Unfinished& unfinished) {
  const std::string& pool = unfinished.pool;
  // It holds the bytes of everybody's files: for its owner only.
  if (::mkdirat(entry.directory.get(), entry.name.c_str(), 0700) == 0) {
    unfinished.directory = true;
  } else if (errno != EEXIST) {
    return fail_errno("pool " + pool);
  }
  PMEMD_ASSIGN(const UniqueFd directory, open_pool_directory(entry));
  const bool had_lock = ::access(lock_path(pool).c_str(), F_OK) == 0;
  PMEMD_ASSIGN(UniqueFd lock, lock_pool(directory, pool, LockKind::kExclusive));
  unfinished.lock = !had_lock;
  PMEMD_TRY(remove_leftovers(pool));
  unfinished.files = true;
  return lock;
}

// Writes the metadata of a new pool: all of it is durable in the database file when this returns.
Result<void> write_database(const std::string& path, const Labels& labels) {
  PMEMD_ASSIGN(auto database, Database::open(path, Database::Mode::kCreate));
  {
    Transaction transaction(*database);
    PMEMD_TRY(transaction.begin());
    PMEMD_TRY(make_tables(*database));
    PMEMD_TRY(database->execute(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}",
                                            kPoolApplicationId, kPoolVersion)));
    PMEMD_ASSIGN(Statement meta,
                 database->prepare("INSERT INTO meta (uuid, next_serial, next_event)"
                                   " VALUES (?, ?, 1)"));
    meta.bind_text(0, labels.pool_uuid).bind(1, static_cast<int64_t>(labels.namespaces.size() + 1));
    PMEMD_TRY(meta.run());
    for (const auto& label : labels.regions) PMEMD_TRY(insert_region(*database, label));
    for (const auto& label : labels.namespaces) PMEMD_TRY(insert_namespace(*database, label));
    PMEMD_TRY(transaction.commit());
  }
  // Closing copies the WAL into the database, and removes it only if the copy succeeded. The
  // database's header must have the version without the WAL.
  database.reset();
  if (::access((path + "-wal").c_str(), F_OK) == 0) {
    return fail(EIO, path + ": the new database could not be completed", "check the host's disk");
  }
  return {};
}

Result<void> write_image(const std::string& path, const Labels& labels) {
  const RegionRecord& region = labels.regions.front().record;
  PMEMD_ASSIGN(const ImageFile file,
               ImageFile::create(path, region.size_bytes, region.reservation));
  PMEMD_ASSIGN(const auto image, file.map({0, kNamespaceMetadataSize}));
  PMEMD_TRY(image->allocate(kInfoBlockOffset, kInfoBlockSize));
  const InfoBlock block = make_info_block(labels.pool_uuid, labels.namespaces.front().record);
  PMEMD_TRY(image->write(kInfoBlockOffset, encode_info_block(block)));
  return image->persist(kInfoBlockOffset, kInfoBlockSize);
}

Labels first_labels(uint64_t region_size, Reservation reservation) {
  Labels labels;
  labels.pool_uuid = make_uuid();
  const RegionRecord region{.id = 0,
                            .size_bytes = region_size,
                            .base_address = kFirstRegionBase,
                            .reservation = reservation};
  NamespaceRecord record;
  record.serial = 1;
  record.uuid = make_uuid();
  record.range = {0, region_size};
  labels.regions.push_back({region, true});
  labels.namespaces.push_back({record, true});
  return labels;
}

}  // namespace

// pool.db gets its name last: until then there is no pool, only leftovers.
Result<std::unique_ptr<Pool>> Pool::create(const std::string& path, uint64_t region_size,
                                           Reservation reservation) {
  PMEMD_TRY(check_size("region0", region_size));
  PMEMD_ASSIGN(const SafeEntry entry, find_pool(path, Missing::kMake));
  const std::string pool = entry.path();
  if (exists(pool)) {
    return fail(EEXIST, fmt::format("pool {}: there is one", pool), "start without --create");
  }
  Unfinished unfinished(pool);
  PMEMD_ASSIGN(UniqueFd lock, enter_directory(entry, unfinished));
  const Labels labels = first_labels(region_size, reservation);
  const std::string unborn = unborn_database_path(pool);
  PMEMD_TRY(write_database(unborn, labels));
  PMEMD_TRY(write_image(image_path(pool, 0), labels));
  PMEMD_TRY(sync_directory(pool));
  if (std::rename(unborn.c_str(), database_path(pool).c_str()) != 0) return fail_errno(pool);
  unfinished.finish();
  PMEMD_TRY(sync_directory(pool));
  PMEMD_TRY(sync_directory(entry.directory_path));
  return open_locked(pool, std::move(lock), Mode::kReadWrite);
}

}  // namespace pmemd
