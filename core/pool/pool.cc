#include "core/pool/pool.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "core/pool/check.h"
#include "core/pool/columns.h"
#include "core/pool/life.h"
#include "core/pool/pool_directory.h"
#include "core/pool/strays.h"
#include "core/pool/upgrade.h"

namespace pmemd {

Pool::Pool(std::string path, UniqueFd lock, Mode mode)
    : path_(std::move(path)), lock_(std::move(lock)), mode_(mode) {}

Pool::~Pool() {
  settings_.reset();
  database_.reset();
  if (mode_ == Mode::kReadWrite) clear_lock_owner(lock_);
}

bool Pool::exists(const std::string& path) {
  return ::access(database_path(path).c_str(), F_OK) == 0;
}

Result<std::unique_ptr<Pool>> Pool::open(const std::string& path, Mode mode,
                                         const OnUpgrade& on_upgrade) {
  PMEMD_ASSIGN(const SafeEntry entry, find_pool(path));
  std::string pool = entry.path();
  if (!exists(pool)) {
    return fail(ENOENT, fmt::format("pool {}: there is no pool.db", pool),
                "pmemd --create SIZE makes a pool");
  }
  PMEMD_ASSIGN(const UniqueFd directory, open_pool_directory(entry));
  PMEMD_ASSIGN(UniqueFd lock,
               lock_pool(directory, pool,
                         mode == Mode::kReadWrite ? LockKind::kExclusive : LockKind::kShared));
  return open_locked(std::move(pool), std::move(lock), mode, on_upgrade);
}

namespace {

// Whether the daemon was killed: an orderly stop copies the WAL into the database and removes it.
bool has_wal(const std::string& pool) {
  std::error_code error;
  const auto size = std::filesystem::file_size(database_path(pool) + "-wal", error);
  return !error && size > 0;
}

// SQLite reads a damaged WAL up to the damage, and nobody can tell that from a whole one. So its
// value of `clean` isn't trusted: it may be older than the enable.
Result<void> mark_unclean(Database& database) {
  Transaction transaction(database);
  PMEMD_TRY(transaction.begin());
  PMEMD_TRY(database.execute("UPDATE namespaces SET clean = 0; UPDATE volumes SET clean = 0"));
  return transaction.commit();
}

}  // namespace

Result<std::unique_ptr<Pool>> Pool::open_locked(std::string path, UniqueFd lock, Mode mode,
                                                const OnUpgrade& on_upgrade) {
  PMEMD_ASSIGN(const int32_t version, check_version(path));  // before SQLite may write
  const bool was_killed = mode == Mode::kReadWrite && has_wal(path);
  if (mode == Mode::kReadWrite) {
    record_lock_owner(lock);
    PMEMD_TRY(upgrade_database(path, version));
    if (version != kPoolVersion && on_upgrade) on_upgrade(path, version);
  }
  std::unique_ptr<Pool> pool(new Pool(std::move(path), std::move(lock), mode));
  PMEMD_TRY(pool->load());
  if (was_killed) PMEMD_TRY(mark_unclean(*pool->database_));
  PMEMD_TRY(pool->open_images());
  if (mode == Mode::kReadWrite) pool->erase_half_made();
  return pool;
}

namespace {

// Refuses pools that may be read but not written: another schema, serials that may be given out
// twice, rows whose label is lost.
Result<void> refuse_to_write(Database& database, const Labels& labels) {
  std::vector<Finding> findings;
  {
    MutexLock lock(database.mutex());
    PMEMD_TRY(check_schema(database, findings));
  }
  if (findings.empty()) findings = check_next_serial(labels);
  if (findings.empty()) return refuse_strays(database, labels);
  return fail(EIO, "pool.db: " + findings.front().problem, kDamagedHint);
}

}  // namespace

Result<void> Pool::load() {
  PMEMD_ASSIGN(database_, Database::open(database_path(path_), mode_ == Mode::kReadWrite
                                                                   ? Database::Mode::kReadWrite
                                                                   : Database::Mode::kReadOnly));
  PMEMD_ASSIGN(Labels labels, load_labels(*database_));
  if (const auto findings = check_labels(labels); !findings.empty()) {
    const auto& [object, problem] = findings.front();
    return fail(EIO, fmt::format("pool {}: pool.db: {}: {}", path_, object, problem), kDamagedHint);
  }
  if (mode_ == Mode::kReadWrite) PMEMD_TRY(refuse_to_write(*database_, labels));
  PMEMD_ASSIGN(settings_, SettingsTable::load(*database_));
  uuid_ = labels.pool_uuid;
  MutexLock lock(mutex_);
  labels_ = std::move(labels);
  return {};
}

Result<void> Pool::open_images() {
  MutexLock lock(mutex_);
  for (const auto& [region, live] : labels_.regions) {
    if (!live) continue;
    auto image =
        ImageFile::open(image_path(path_, region.id), region.size_bytes, region.reservation);
    if (image.err() == ENOENT) {
      return fail(EIO,
                  fmt::format("pool {}: region{}.img is missing; it had {} bytes", path_, region.id,
                              region.size_bytes),
                  "restore it from a backup");
    }
    if (!image) return std::unexpected(std::move(image).error());
    PMEMD_ASSIGN(auto errors, MediaErrors::load(*database_, region.id));
    if (errors->is_bad({region.size_bytes, UINT64_MAX})) {
      return fail(
          EIO, fmt::format("pool {}: pool.db: bad blocks behind region{}'s end", path_, region.id),
          kDamagedHint);
    }
    images_.emplace(region.id, std::make_shared<ImageFile>(*std::move(image)));
    media_errors_.emplace(region.id, std::move(errors));
  }
  return {};
}

// What can't be erased now keeps its space, so that nobody else gets it; the next open tries again.
void Pool::erase_half_made() {
  {
    MutexLock lock(mutex_);
    half_erased_ = {records_of(labels_.volumes, /*live=*/false),
                    records_of(labels_.namespaces, /*live=*/false),
                    records_of(labels_.regions, /*live=*/false)};
  }
  finish_erasures();
}

void Pool::finish_erasures() {
  decltype(half_erased_) objects;
  {
    MutexLock lock(mutex_);
    objects.swap(half_erased_);
  }
  const auto erase_all = [&]<class Record>(const std::vector<Record>& records) {
    for (const Record& record : records) (void)Life(*this, record).erase_or_note();
  };
  std::apply([&](const auto&... records) { (erase_all(records), ...); }, objects);
}

std::vector<RegionRecord> Pool::regions() const {
  MutexLock lock(mutex_);
  return records_of(labels_.regions, /*live=*/true);
}

std::vector<NamespaceRecord> Pool::namespaces() const {
  MutexLock lock(mutex_);
  return records_of(labels_.namespaces, /*live=*/true);
}

std::vector<VolumeRecord> Pool::volumes() const {
  MutexLock lock(mutex_);
  return records_of(labels_.volumes, /*live=*/true);
}

Result<RegionRecord> Pool::region(uint32_t id) const {
  return find_region(RegionRecord{.id = id}.name());
}

Result<RegionRecord> Pool::find_region(std::string_view name) const {
  return find_by_name(regions(), name);
}

Result<NamespaceRecord> Pool::find_namespace(std::string_view name) const {
  return find_by_name(namespaces(), name);
}

Result<VolumeRecord> Pool::find_volume(std::string_view name) const {
  return find_by_name(volumes(), name);
}

Pool::Available Pool::available(uint32_t region) const {
  MutexLock lock(mutex_);
  Available available;
  const RegionLabel* const label = labels_.find_region(region);
  if (label == nullptr) return available;
  for (const RegionRange extent : labels_.free_extents(label->record)) {
    available.total_bytes += extent.length();
    available.max_extent_bytes = std::max(available.max_extent_bytes, extent.length());
  }
  return available;
}

Result<std::unique_ptr<MappedImage>> Pool::map(uint32_t region, RegionRange range) const {
  std::shared_ptr<const ImageFile> image;
  {
    MutexLock lock(mutex_);
    if (const auto found = images_.find(region); found != images_.end()) image = found->second;
  }
  if (image == nullptr)
    return fail(ENOENT, fmt::format("region{}: there is no such region", region));
  return image->map(range);
}

std::shared_ptr<MediaErrors> Pool::media_errors(uint32_t region) {
  MutexLock lock(mutex_);
  const auto found = media_errors_.find(region);
  return found == media_errors_.end() ? nullptr : found->second;
}

std::shared_ptr<const MediaErrors> Pool::media_errors(uint32_t region) const {
  MutexLock lock(mutex_);
  const auto found = media_errors_.find(region);
  return found == media_errors_.end() ? nullptr : found->second;
}

uint64_t Pool::region_changes() const {
  MutexLock lock(mutex_);
  return region_changes_;
}

Result<int64_t> Pool::change(std::string_view sql, std::initializer_list<uint64_t> parameters) {
  Transaction transaction(*database_);
  PMEMD_TRY(transaction.begin());
  PMEMD_ASSIGN(Statement statement, database_->prepare(sql));
  int index = 0;
  for (const uint64_t value : parameters) statement.bind(index++, static_cast<int64_t>(value));
  PMEMD_TRY(statement.run());
  const int64_t changes = database_->changes();
  PMEMD_TRY(transaction.commit());
  return changes;
}

Result<bool> Pool::is_clean(uint64_t serial) const { return read_clean(*database_, serial); }

Result<std::optional<uint64_t>> Pool::extents_checksum(uint64_t serial) const {
  return read_extents_checksum(*database_, serial);
}

Result<void> Pool::set_clean(uint64_t serial, bool clean, std::optional<uint64_t> checksum) {
  {
    Transaction transaction(*database_);
    PMEMD_TRY(transaction.begin());
    const auto run = [&](std::string_view sql, int64_t value) -> Result<int64_t> {
      PMEMD_ASSIGN(Statement statement, database_->prepare(sql));
      PMEMD_TRY(statement.bind(0, static_cast<int64_t>(serial)).bind(1, value).run());
      return database_->changes();
    };
    PMEMD_ASSIGN(int64_t found, run("UPDATE namespaces SET clean = ?2 WHERE serial = ?1", clean));
    if (found == 0) {
      PMEMD_ASSIGN(found, run("UPDATE volumes SET clean = ?2 WHERE serial = ?1", clean));
    }
    if (found == 0) return fail(ENOENT, fmt::format("there is no namespace of serial {}", serial));
    if (checksum) {
      PMEMD_TRY(run("INSERT OR REPLACE INTO extent_checksums (serial, checksum) VALUES (?1, ?2)",
                    static_cast<int64_t>(*checksum)));
    } else {
      PMEMD_TRY(run("DELETE FROM extent_checksums WHERE serial = ?1 AND ?2", 1));
    }
    PMEMD_TRY(transaction.commit());
  }
  return database_->sync();
}

}  // namespace pmemd
