#include "core/database/database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sqlite3.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cassert>
#include <filesystem>
#include <utility>

#include "core/base/blocking.h"

namespace pmemd {
namespace {

constexpr int kBusyTimeoutMs = 5000;
// One of SQLite's own VFS: this process alone uses the file, so its connections share the WAL's
// index and its locks in memory. Otherwise each transaction would take and drop four file locks.
constexpr const char* kExclusiveVfs = "unix-excl";
// No lock of SQLite's around each call: a connection is used under its Database's mutex.
constexpr int kOpenFlags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
constexpr const char* kCorruptHint = "restore it from a backup; the images are untouched";

int to_errno(sqlite3* db, int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
      return ENOSPC;
    case SQLITE_CONSTRAINT:
      return EEXIST;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return EBUSY;
    case SQLITE_NOMEM:
      return ENOMEM;
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return EROFS;
    case SQLITE_CANTOPEN: {
      if (code == SQLITE_CANTOPEN_SYMLINK) return ELOOP;
      const int host = db == nullptr ? 0 : sqlite3_system_errno(db);
      return host == 0 ? EIO : host;
    }
    default:
      return EIO;
  }
}

std::unexpected<Error> sqlite_fail(sqlite3* db, const std::string& path, int code) {
  const int primary = code & 0xff;
  const bool corrupt = primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB;
  const char* words = db != nullptr && sqlite3_extended_errcode(db) == code ? sqlite3_errmsg(db)
                                                                            : sqlite3_errstr(code);
  return fail(to_errno(db, code), fmt::format("{}: {}", path, words), corrupt ? kCorruptHint : "");
}

std::unexpected<Error> sqlite_fail(sqlite3* db, int code) {
  const char* path = sqlite3_db_filename(db, "main");
  return sqlite_fail(db, path == nullptr ? "" : path, code);
}

// Turns off the library's memory statistics, which take a lock for each allocation. Refused,
// harmlessly, if this process has used the library before.
void configure_library() {
  [[maybe_unused]] static const int code = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

bool is_on_disk(const std::string& path) {
  struct statfs st = {};
  return statfs(path.c_str(), &st) != 0 || (st.f_type != TMPFS_MAGIC && st.f_type != RAMFS_MAGIC);
}

}  // namespace

// --- Statement

Statement::Statement(Statement&& other) noexcept
    : database_(other.database_),
      stmt_(std::exchange(other.stmt_, nullptr)),
      bind_error_(other.bind_error_) {}

Statement& Statement::operator=(Statement&& other) noexcept {
  if (this != &other) {
    finalize();
    database_ = other.database_;
    stmt_ = std::exchange(other.stmt_, nullptr);
    bind_error_ = other.bind_error_;
  }
  return *this;
}

Statement::~Statement() { finalize(); }

void Statement::finalize() {
  if (stmt_ == nullptr) return;
  if (database_->mutex_.is_held()) {
    sqlite3_finalize(stmt_);
  } else {
    MutexLock lock(database_->mutex_);
    sqlite3_finalize(stmt_);
  }
}

bool Statement::is_usable() const { return stmt_ != nullptr && database_->mutex_.is_held(); }

void Statement::begin_bind() {
  assert(is_usable());
  if (sqlite3_stmt_busy(stmt_) != 0) reset();
}

void Statement::end_bind(int code) {
  if (code != SQLITE_OK && bind_error_ == SQLITE_OK) bind_error_ = code;
}

Statement& Statement::bind(int index, int64_t value) {
  begin_bind();
  end_bind(sqlite3_bind_int64(stmt_, index + 1, value));
  return *this;
}

// An empty view may have no pointer; SQLite would take that for NULL.
Statement& Statement::bind_text(int index, std::string_view value) {
  begin_bind();
  end_bind(sqlite3_bind_text64(stmt_, index + 1, value.empty() ? "" : value.data(), value.size(),
                               SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}

Statement& Statement::bind_blob(int index, std::string_view value) {
  begin_bind();
  end_bind(sqlite3_bind_blob64(stmt_, index + 1, value.empty() ? "" : value.data(), value.size(),
                               SQLITE_TRANSIENT));
  return *this;
}

Statement& Statement::bind_blob(int index, std::span<const std::byte> value) {
  return bind_blob(index,
                   std::string_view(reinterpret_cast<const char*>(value.data()), value.size()));
}

Statement& Statement::bind_null(int index) {
  begin_bind();
  end_bind(sqlite3_bind_null(stmt_, index + 1));
  return *this;
}

Result<bool> Statement::step() {
  assert(is_usable());
  sqlite3* const db = database_->db_;
  if (const int code = std::exchange(bind_error_, SQLITE_OK); code != SQLITE_OK) {
    reset();
    return sqlite_fail(db, code);
  }
  const int code = sqlite3_step(stmt_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    reset();
    return false;
  }
  auto failure = sqlite_fail(db, code);  // before reset() touches the message
  reset();
  return failure;
}

Result<void> Statement::run() {
  for (;;) {
    PMEMD_ASSIGN(const bool row, step());
    if (!row) return {};
  }
}

void Statement::reset() {
  assert(is_usable());
  sqlite3_reset(stmt_);
}

Statement::Type Statement::Value::type() const {
  switch (sqlite3_value_type(value_)) {
    case SQLITE_INTEGER:
      return Type::kInteger;
    case SQLITE_FLOAT:
      return Type::kReal;
    case SQLITE_TEXT:
      return Type::kText;
    case SQLITE_BLOB:
      return Type::kBlob;
    default:
      return Type::kNull;
  }
}

int64_t Statement::Value::integer() const { return sqlite3_value_int64(value_); }

std::string_view Statement::Value::bytes() const {
  const void* const data = sqlite3_value_blob(value_);
  const auto size = static_cast<size_t>(sqlite3_value_bytes(value_));
  return data == nullptr ? std::string_view()
                         : std::string_view(static_cast<const char*>(data), size);
}

Statement::Value Statement::column(int index) const {
  return Value(sqlite3_column_value(stmt_, index));
}

Statement::Type Statement::column_type(int index) const { return column(index).type(); }

int64_t Statement::column_int(int index) const { return sqlite3_column_int64(stmt_, index); }

std::string_view Statement::column_view(int index) const { return column(index).bytes(); }

std::string Statement::column_text(int index) const { return column_blob(index); }

std::string Statement::column_blob(int index) const { return std::string(column_view(index)); }

bool Statement::column_is_null(int index) const {
  return sqlite3_column_type(stmt_, index) == SQLITE_NULL;
}

// --- Database

Database::Database(sqlite3* db, std::string path, Mode mode)
    : db_(db), path_(std::move(path)), mode_(mode) {}

Database::~Database() {
  begin_ = {};
  commit_ = {};
  rollback_ = {};
  sqlite3_close(checkpointer_);
  if (sync_error_ != 0) sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  // The last to close copies the WAL into the database and removes it.
  const int code = sqlite3_close(db_);
  assert(code == SQLITE_OK);  // else a Statement still exists
  (void)code;
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path, Mode mode) {
  if (mode == Mode::kCreate) {  // before SQLite opens it, so that closing drops no lock
    const UniqueFd made(::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
    if (!made) return fail_errno(path);
  } else if (::access(path.c_str(), F_OK) != 0) {
    return fail_errno(path);
  }
  configure_library();
  const int flags = kOpenFlags | SQLITE_OPEN_NOFOLLOW |
                    (mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
  sqlite3* connection = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &connection, flags,
                                   mode == Mode::kReadOnly ? nullptr : kExclusiveVfs);
  std::unique_ptr<Database> db(new Database(connection, path, mode));
  if (code != SQLITE_OK) return sqlite_fail(connection, path, code);
  sqlite3_busy_timeout(connection, kBusyTimeoutMs);

  MutexLock lock(db->mutex_);
  db->is_on_disk_ = is_on_disk(path);
  PMEMD_TRY(db->configure());
  PMEMD_TRY(db->quick_check());
  if (mode != Mode::kReadOnly) PMEMD_TRY(db->open_wal());
  PMEMD_ASSIGN(db->begin_, db->prepare("BEGIN IMMEDIATE"));
  PMEMD_ASSIGN(db->commit_, db->prepare("COMMIT"));
  PMEMD_ASSIGN(db->rollback_, db->prepare("ROLLBACK"));
  return db;
}

Result<std::unique_ptr<Database>> Database::open_in_memory() {
  const std::string path = ":memory:";
  sqlite3* connection = nullptr;
  configure_library();
  const int code =
      sqlite3_open_v2(path.c_str(), &connection, kOpenFlags | SQLITE_OPEN_READWRITE, nullptr);
  std::unique_ptr<Database> db(new Database(connection, path, Mode::kReadWrite));
  if (code != SQLITE_OK) return sqlite_fail(connection, path, code);
  return db;
}

Result<void> Database::configure() {
  if (mode_ == Mode::kCreate) {  // before there is a first page
    PMEMD_TRY(execute(fmt::format("PRAGMA page_size = {}", kPageBytes)));
  }
  if (mode_ != Mode::kReadOnly) {
    PMEMD_ASSIGN(Statement journal, prepare("PRAGMA journal_mode = WAL"));
    PMEMD_ASSIGN(const bool row, journal.step());
    if (!row || journal.column_text(0) != "wal") {
      return fail(EIO, path_ + ": the host's file system can't keep an SQLite WAL",
                  "put the pool on a local file system");
    }
  }
  return execute(
      "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = OFF;"
      "PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;"
      "PRAGMA cache_size = -16384");
}

Result<void> Database::quick_check() {
  PMEMD_ASSIGN(Statement check, prepare("PRAGMA quick_check(1)"));
  PMEMD_ASSIGN(const bool row, check.step());
  const std::string verdict = row ? check.column_text(0) : "no answer";
  if (verdict != "ok") return fail(EIO, path_ + ": corrupt: " + verdict, kCorruptHint);
  return {};
}

// A descriptor of our own to fsync the WAL by: SQLite's (SQLITE_FCNTL_JOURNAL_POINTER) belongs to
// the connection and must not be used while another thread commits. SQLite locks the database and
// "-shm" files, never the WAL, so closing this one drops no lock; and as long as a connection is
// open the WAL is neither removed nor replaced. SQLite makes its directory entry durable only with
// its own first sync, which ours replaces.
Result<void> Database::open_wal() {
  PMEMD_TRY(execute("BEGIN IMMEDIATE; ROLLBACK"));  // SQLite creates the file at first access
  const std::string wal = path_ + "-wal";
  wal_.reset(::open(wal.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!wal_) return fail_errno(wal);
  const std::string parent = std::filesystem::path(path_).parent_path();
  const UniqueFd dir(::open(parent.empty() ? "." : parent.c_str(), O_DIRECTORY | O_CLOEXEC));
  if (!dir || ::fsync(dir.get()) != 0) return fail_errno(parent);

  const int flags = kOpenFlags | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_READWRITE;
  int code = sqlite3_open_v2(path_.c_str(), &checkpointer_, flags, kExclusiveVfs);
  if (code == SQLITE_OK) {  // before its first read it doesn't know of the WAL, and copies nothing
    code = sqlite3_exec(checkpointer_, "PRAGMA schema_version", nullptr, nullptr, nullptr);
  }
  if (code != SQLITE_OK) return sqlite_fail(checkpointer_, path_, code);
  // In place of SQLite's own hook, which copies the WAL in a commit after each 1000 pages.
  sqlite3_wal_hook(db_, &Database::on_commit, this);
  // What was recovered from the WAL may not be durable yet.
  commits_ = 1;
  return {};
}

// Called by SQLite after each commit, within the statement that committed.
int Database::on_commit(void* self, sqlite3* db, const char* /*name*/, int wal_pages) {
  auto* const database = static_cast<Database*>(self);
  database->commits_.fetch_add(1, std::memory_order_release);
  database->wal_pages_.store(wal_pages, std::memory_order_relaxed);
  if (wal_pages >= kWalPagesMax) database->checkpoint(db);
  return SQLITE_OK;
}

// Copies the WAL into the database. A lack of space does no harm: the WAL keeps growing, and the
// next checkpoint tries again. An I/O error is final, as in sync(): a second fsync would tell
// nothing.
void Database::checkpoint(sqlite3* connection) {
  if (sync_error_ != 0) return;
  about_to_block();
  const int code =
      sqlite3_wal_checkpoint_v2(connection, "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if ((code & 0xff) == SQLITE_IOERR) sync_error_ = EIO;
}

Result<Statement> Database::prepare(std::string_view sql) {
  assert(mutex_.is_held());
  sqlite3_stmt* stmt = nullptr;
  const int code = sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &stmt, nullptr);
  if (code != SQLITE_OK) return sqlite_fail(db_, path_, code);
  return Statement(*this, stmt);
}

Result<void> Database::execute(std::string_view sql) {
  assert(mutex_.is_held());
  const int code = sqlite3_exec(db_, std::string(sql).c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return sqlite_fail(db_, path_, code);
  return {};
}

Result<bool> Database::has_table(std::string_view name) {
  PMEMD_ASSIGN(Statement select,
               prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"));
  return select.bind_text(0, name).step();
}

int64_t Database::last_insert_rowid() const { return sqlite3_last_insert_rowid(db_); }

int64_t Database::changes() const { return sqlite3_changes64(db_); }

Result<void> Database::sync() {
  if (!wal_) return {};  // read-only
  if (const int err = sync_error_; err != 0) {
    return fail(err, path_ + ": metadata could not be made durable before", "restart pmemd");
  }
  const uint64_t commits = commits_.load(std::memory_order_acquire);
  if (synced_.load(std::memory_order_acquire) >= commits) return {};

  about_to_block();
  if (::fdatasync(wal_.get()) != 0) {
    auto failure = fail_errno(path_ + "-wal");
    sync_error_ = failure.error().err();
    return failure;
  }
  uint64_t synced = synced_.load(std::memory_order_relaxed);
  while (synced < commits && !synced_.compare_exchange_weak(synced, commits)) {
  }
  // Now, because the copy would wait for that fsync first.
  if (wal_pages_.load(std::memory_order_relaxed) >= kWalPagesGoal &&
      !checkpointing_.test_and_set()) {
    checkpoint(checkpointer_);
    checkpointing_.clear();
  }
  return {};
}

// --- Transaction

Transaction::Transaction(Database& db) : db_(db) { db_.mutex().lock(); }

Transaction::~Transaction() {
  // SQLite may have rolled back by itself on an error.
  if (open_ && sqlite3_get_autocommit(db_.db_) == 0) (void)db_.rollback_.run();
  db_.mutex().unlock();
}

Result<void> Transaction::begin() {
  assert(!open_);
  PMEMD_TRY(db_.begin_.run());
  open_ = true;
  return {};
}

Result<void> Transaction::commit() {
  assert(open_);
  if (sqlite3_get_autocommit(db_.db_) != 0) {
    return fail(EIO, db_.path_ + ": the transaction was rolled back by an earlier error");
  }
  if (db_.is_on_disk_) about_to_block();
  PMEMD_TRY(db_.commit_.run());  // failed: the destructor rolls back
  open_ = false;
  return {};
}

}  // namespace pmemd
