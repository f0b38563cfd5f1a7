// A thin owner of an SQLite connection: statements, transactions, durability.
//
// Every change of metadata is one transaction and is in the WAL before its caller gets the reply
// (survives the daemon's death). sync() makes all of them durable (survives power loss).
// Opened with journal_mode=WAL, synchronous=NORMAL, foreign_keys off, a busy timeout; if opened for
// writing, for this process alone (SQLite's VFS "unix-excl").
//
// Invariants:
//  1. A committed transaction is in the WAL or, durably, in the database file. SQLite's checkpoint
//     syncs the WAL, copies, and syncs the database file before it lets the WAL be overwritten.
//  2. After a sync() that failed no later one succeeds: the host may have dropped what it could
//     not write, and would report the next fsync as good.
//  3. No code in this process opens and closes the database file by its own descriptor while a
//     Database is open: that would drop SQLite's POSIX locks. (The WAL carries no locks.)
//
// Thread contract: the connection has no lock of SQLite's and is used under `mutex()`; a caller
// that runs statements holds it from the first bind to the last step (a Transaction does;
// asserted). A Statement that is destroyed without it takes it. sync() runs without it. It is not
// held across an fsync, with one exception: when the WAL has outgrown kWalPagesMax because nobody
// called sync(), a commit copies it into the database itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/base/mutex.h"
#include "core/base/unique_fd.h"

struct sqlite3;
struct sqlite3_stmt;
struct sqlite3_value;

namespace pmemd {

class Database;

// A prepared statement. Parameters and columns count from 0 by position.
// step(): true with a row, false when done; the statement is reset when done or on error. A
// statement that is abandoned earlier must be reset (bind does so too): it keeps the WAL from being
// reused. Error mapping: SQLITE_FULL → ENOSPC, SQLITE_IOERR*, CORRUPT, NOTADB → EIO, CONSTRAINT →
// EEXIST, BUSY → EBUSY, NOMEM → ENOMEM, READONLY/PERM → EROFS, CANTOPEN → the host's errno, else
// EIO. An error of bind is reported by step().
class Statement {
 public:
  Statement() = default;
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  Statement& bind(int index, int64_t value);
  Statement& bind_text(int index, std::string_view value);            // copied
  Statement& bind_blob(int index, std::span<const std::byte> value);  // copied
  Statement& bind_blob(int index, std::string_view value);            // copied
  Statement& bind_null(int index);

  Result<bool> step();
  Result<void> run();  // step() to the end, rows ignored, reset
  void reset();

  enum class Type : uint8_t { kNull, kInteger, kReal, kText, kBlob };
  // One value of the row; valid until the next step or reset.
  class Value {
   public:
    Type type() const;  // a column may hold any
    int64_t integer() const;
    std::string_view bytes() const;  // of a text or blob

   private:
    friend class Statement;
    explicit Value(sqlite3_value* value) : value_(value) {}
    sqlite3_value* value_;
  };
  Value column(int index) const;

  Type column_type(int index) const;
  int64_t column_int(int index) const;
  std::string_view column_view(int index) const;  // valid until the next step or reset
  std::string column_text(int index) const;
  std::string column_blob(int index) const;  // bytes, valid after reset too
  bool column_is_null(int index) const;

 private:
  friend class Database;
  Statement(Database& database, sqlite3_stmt* stmt) : database_(&database), stmt_(stmt) {}
  bool is_usable() const;  // for asserts
  void finalize();
  void begin_bind();
  void end_bind(int code);

  Database* database_ = nullptr;
  sqlite3_stmt* stmt_ = nullptr;
  int bind_error_ = 0;  // SQLite's code of the first bind that failed
};

class Database {
 public:
  // kCreate: creates the file, for its owner only, with pages of 2 KiB (a file with another page
  // size can be opened, too); EEXIST if it exists. kReadOnly: changes neither database nor WAL
  // (SQLite may leave its index "<path>-shm" and an empty WAL behind); after a crash it sees what
  // was committed.
  enum class Mode { kReadWrite, kReadOnly, kCreate };

  // ENOENT. ELOOP: the path has a link (SQLite checks the whole path). EIO, with the path and
  // SQLite's message: the file is not a database or is corrupt (quick_check on open).
  static Result<std::unique_ptr<Database>> open(const std::string& path, Mode mode);
  // A database without a file, for this connection alone.
  static Result<std::unique_ptr<Database>> open_in_memory();
  ~Database();  // all Statements must be gone
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Mutex& mutex() PMEMD_ATTRIBUTE(lock_returned(mutex_)) { return mutex_; }

  // All of these need mutex() held.
  Result<Statement> prepare(std::string_view sql);  // one statement
  Result<void> execute(std::string_view sql);       // any number of them, rows ignored
  Result<bool> has_table(std::string_view name);    // a pool of an older version has fewer
  int64_t last_insert_rowid() const;
  int64_t changes() const;

  // Makes every committed transaction durable (fsync of the WAL, without a lock held while it
  // runs). ENOSPC, EIO.
  Result<void> sync() PMEMD_EXCLUDES(mutex_);

 private:
  friend class Statement;
  friend class Transaction;

  // For new databases. Half of SQLite's default: a commit writes and checksums each page that it
  // has touched, for rows of a hundred bytes.
  static constexpr int kPageBytes = 2048;
  // The WAL's size at which sync() copies it into the database; at which a commit does.
  static constexpr int kWalPagesGoal = 1000;
  static constexpr int kWalPagesMax = 8000;

  Database(sqlite3* db, std::string path, Mode mode);
  Result<void> configure();
  Result<void> quick_check();
  Result<void> open_wal();
  void checkpoint(sqlite3* connection);
  static int on_commit(void* self, sqlite3* db, const char* name, int wal_pages);

  // Constant after open().
  sqlite3* db_;
  std::string path_;
  Mode mode_;
  bool is_on_disk_ = true;           // the host may make a commit wait; not on a tmpfs
  UniqueFd wal_;                     // to fsync
  sqlite3* checkpointer_ = nullptr;  // copies the WAL while db_ goes on; used by sync() alone
  Statement begin_, commit_, rollback_;

  std::atomic<uint64_t> commits_ = 0;
  std::atomic<uint64_t> synced_ = 0;  // how many of them are durable
  std::atomic<int> wal_pages_ = 0;
  std::atomic<int> sync_error_ = 0;  // an errno, for ever
  std::atomic_flag checkpointing_ = ATOMIC_FLAG_INIT;

  Mutex mutex_;
};

// RAII: BEGIN IMMEDIATE … COMMIT under the database's mutex. Rolls back unless committed.
class PMEMD_SCOPED_CAPABILITY Transaction {
 public:
  explicit Transaction(Database& db) PMEMD_ACQUIRE(db.mutex());
  ~Transaction() PMEMD_RELEASE();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  Result<void> begin();   // first call; reports what the constructor can't
  Result<void> commit();  // on failure the transaction is rolled back

 private:
  Database& db_;
  bool open_ = false;
};

}  // namespace pmemd
