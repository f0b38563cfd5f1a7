// Statements, transactions, errors and durability of core/region/database.
#include "core/database/database.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <optional>
#include <thread>

#include "tests/unit/failing_call.h"
#include "tests/unit/temporary_directory.h"

namespace pmemd {
namespace {

using ::testing::HasSubstr;

class DatabaseTest : public ::testing::Test {
 protected:
  std::unique_ptr<Database> open(Database::Mode mode) {
    auto db = Database::open(path_, mode);
    EXPECT_TRUE(db) << db.error().describe();
    return db ? *std::move(db) : nullptr;
  }
  std::unique_ptr<Database> create() {
    auto db = open(Database::Mode::kCreate);
    MutexLock lock(db->mutex());
    EXPECT_EQ(db->execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)").err(), 0);
    return db;
  }
  // One transaction that inserts `key`.
  static Result<void> insert(Database& db, int64_t key, std::string_view value = "x") {
    Transaction transaction(db);
    PMEMD_TRY(transaction.begin());
    PMEMD_ASSIGN(Statement add, db.prepare("INSERT INTO t VALUES (?, ?)"));
    PMEMD_TRY(add.bind(0, key).bind_blob(1, value).run());
    return transaction.commit();
  }
  static int64_t count(Database& db) {
    MutexLock lock(db.mutex());
    auto count = db.prepare("SELECT count(*) FROM t");
    EXPECT_TRUE(count && count->step());
    return count->column_int(0);
  }
  static Result<void> execute(Database& db, std::string_view sql) {
    MutexLock lock(db.mutex());
    return db.execute(sql);
  }

  const TemporaryDirectory dir_{TemporaryDirectory::Place::kInMemory};
  const std::string path_ = dir_.path() + "/pool.db";
};

TEST_F(DatabaseTest, StatementsAreDestroyedWithTheLockOrTakeIt) {
  const auto db = create();
  ASSERT_EQ(insert(*db, 1).err(), 0);
  std::optional<Statement> left;
  {
    MutexLock lock(db->mutex());
    auto read = db->prepare("SELECT k FROM t");
    ASSERT_TRUE(read && read->step());
    left = *std::move(read);
    auto other = db->prepare("SELECT k FROM t");
    ASSERT_TRUE(other && other->step());
    EXPECT_TRUE(db->mutex().is_held());  // `other` goes first
  }
  left.reset();
  EXPECT_FALSE(db->mutex().is_held());
  // A read that is still there would make this fail with EBUSY.
  EXPECT_EQ(execute(*db, "DROP TABLE t").err(), 0);
}

using DatabaseDeathTest = DatabaseTest;
TEST_F(DatabaseDeathTest, UseWithoutTheLockIsABug) {
  const auto db = create();
  EXPECT_DEATH((void)db->execute("SELECT 1"), "is_held");
  std::optional<Statement> statement;
  {
    MutexLock lock(db->mutex());
    auto made = db->prepare("SELECT ?");
    ASSERT_TRUE(made);
    statement = *std::move(made);
  }
  EXPECT_DEATH((void)statement->step(), "is_usable");
  EXPECT_DEATH((void)statement->bind(0, int64_t{1}), "is_usable");
}

TEST_F(DatabaseTest, StatementsTakeAndGiveEachType) {
  const auto db = create();
  MutexLock lock(db->mutex());
  auto all = db->prepare("SELECT ?, ?, ?, ?, ?");
  ASSERT_TRUE(all);
  const std::string bytes("a\0b", 3);
  const std::array<std::byte, 2> span = {std::byte{7}, std::byte{0}};
  all->bind(0, -5).bind_text(1, bytes).bind_blob(2, bytes).bind_blob(3, span).bind_null(4);
  ASSERT_EQ(all->step().value(), true);
  EXPECT_EQ(all->column_int(0), -5);
  EXPECT_EQ(all->column_text(1), bytes);
  EXPECT_EQ(all->column_blob(2), bytes);
  EXPECT_EQ(all->column_blob(3), std::string("\x07\0", 2));
  EXPECT_TRUE(all->column_is_null(4));
  EXPECT_FALSE(all->column_is_null(2));
  EXPECT_EQ(all->step().value(), false);
}

TEST_F(DatabaseTest, AnEmptyTextOrBlobIsNotNull) {
  const auto db = create();
  MutexLock lock(db->mutex());
  auto statement = db->prepare("SELECT ?, ?");
  statement->bind_text(0, {}).bind_blob(1, std::string_view());
  ASSERT_EQ(statement->step().value(), true);
  EXPECT_FALSE(statement->column_is_null(0));
  EXPECT_FALSE(statement->column_is_null(1));
}

TEST_F(DatabaseTest, BindOnAStatementLeftEarlyStartsAnew) {
  const auto db = create();
  MutexLock lock(db->mutex());
  auto statement = db->prepare("SELECT ? UNION ALL SELECT 9");
  ASSERT_EQ(statement->bind(0, 1).step().value(), true);
  ASSERT_EQ(statement->bind(0, 2).step().value(), true);
  EXPECT_EQ(statement->column_int(0), 2);
}

TEST_F(DatabaseTest, ABindErrorIsReportedByStepOnce) {
  const auto db = create();
  MutexLock lock(db->mutex());
  auto statement = db->prepare("SELECT ?");
  EXPECT_EQ(statement->bind(5, 1).step().err(), EIO);
  EXPECT_EQ(statement->bind(0, 1).step().err(), 0);
}

TEST_F(DatabaseTest, AMovedStatementLeavesNothingBehind) {
  const auto db = create();
  MutexLock lock(db->mutex());
  auto first = db->prepare("SELECT 1");
  auto second = db->prepare("SELECT 2");
  *second = std::move(*first);
  ASSERT_EQ(second->step().value(), true);
  EXPECT_EQ(second->column_int(0), 1);
}

TEST_F(DatabaseTest, ATransactionWithoutCommitLeavesNothing) {
  const auto db = create();
  {
    Transaction transaction(*db);
    ASSERT_TRUE(transaction.begin());
    ASSERT_TRUE(db->execute("INSERT INTO t VALUES (1, 'x')"));
  }
  EXPECT_EQ(count(*db), 0);
  EXPECT_EQ(insert(*db, 1).err(), 0);
  EXPECT_EQ(count(*db), 1);
}

TEST_F(DatabaseTest, ChangesAndRowidTellOfTheLastStatement) {
  const auto db = create();
  ASSERT_TRUE(insert(*db, 41));
  Transaction transaction(*db);
  ASSERT_TRUE(transaction.begin());
  EXPECT_EQ(db->last_insert_rowid(), 41);
  ASSERT_TRUE(db->execute("DELETE FROM t"));
  EXPECT_EQ(db->changes(), 1);
}

TEST_F(DatabaseTest, AConstraintIsEexist) {
  const auto db = create();
  ASSERT_TRUE(insert(*db, 1));
  const auto again = insert(*db, 1);
  EXPECT_EQ(again.err(), EEXIST);
  EXPECT_THAT(again.error().message, HasSubstr(path_));
  EXPECT_EQ(count(*db), 1);
}

TEST_F(DatabaseTest, AFullDiskIsEnospcAndTheNextTransactionWorks) {
  const auto db = create();
  ASSERT_TRUE(execute(*db, "PRAGMA max_page_count = 4"));
  EXPECT_EQ(insert(*db, 1, std::string(100000, 'x')).err(), ENOSPC);
  EXPECT_EQ(count(*db), 0);
  EXPECT_EQ(insert(*db, 1).err(), 0);
}

TEST_F(DatabaseTest, CommitAfterSqliteRolledBackIsAnError) {
  const auto db = create();
  Transaction transaction(*db);
  ASSERT_TRUE(transaction.begin());
  ASSERT_TRUE(db->execute("ROLLBACK"));
  EXPECT_EQ(transaction.commit().err(), EIO);
}

TEST_F(DatabaseTest, AWriterOfAnotherConnectionIsEbusy) {
  const auto db = create();
  const auto other = open(Database::Mode::kReadWrite);
  ASSERT_TRUE(execute(*other, "PRAGMA busy_timeout = 0"));
  Transaction transaction(*db);
  ASSERT_TRUE(transaction.begin());
  EXPECT_EQ(insert(*other, 1).err(), EBUSY);
}

TEST_F(DatabaseTest, OpenOfAMissingFileIsEnoentAndMakesNone) {
  EXPECT_EQ(Database::open(path_, Database::Mode::kReadWrite).err(), ENOENT);
  EXPECT_EQ(Database::open(path_, Database::Mode::kReadOnly).err(), ENOENT);
  EXPECT_NE(::access(path_.c_str(), F_OK), 0);
}

TEST_F(DatabaseTest, CreateOfAnExistingFileIsEexist) {
  create();
  EXPECT_EQ(Database::open(path_, Database::Mode::kCreate).err(), EEXIST);
}

TEST_F(DatabaseTest, AFileThatIsNoDatabaseIsEioWithPathAndSqlitesWords) {
  std::ofstream(path_) << std::string(8192, 'n');
  const auto db = Database::open(path_, Database::Mode::kReadWrite);
  ASSERT_EQ(db.err(), EIO);
  EXPECT_THAT(db.error().message, HasSubstr(path_ + ": file is not a database"));
  EXPECT_THAT(db.error().hint, HasSubstr("backup"));
}

// Whoever opens one takes the pages as they are.
TEST_F(DatabaseTest, PagesOfAnySizeAreOpened) {
  const auto page_bytes = [](Database& db) {
    MutexLock lock(db.mutex());
    auto query = db.prepare("PRAGMA page_size");
    EXPECT_TRUE(query->step().value());
    return query->column_int(0);
  };
  const std::string other = path_ + ".other";
  {
    const auto db = create();
    EXPECT_EQ(page_bytes(*db), 2048);
    ASSERT_TRUE(insert(*db, 1));
    ASSERT_TRUE(execute(*db, "PRAGMA page_size = 4096; VACUUM INTO '" + other + "'"));
  }
  auto db = Database::open(other, Database::Mode::kReadWrite);
  ASSERT_TRUE(db);
  EXPECT_EQ(page_bytes(**db), 4096);
  ASSERT_TRUE(insert(**db, 2));
  EXPECT_EQ(count(**db), 2);
}

TEST_F(DatabaseTest, ACorruptPageIsEioOnOpen) {
  {
    const auto db = create();
    for (int64_t key = 0; key < 200; ++key) ASSERT_TRUE(insert(*db, key, std::string(500, 'x')));
  }
  {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4 * 2048);
    file << std::string(2048, '\xff');
  }
  const auto db = Database::open(path_, Database::Mode::kReadWrite);
  ASSERT_EQ(db.err(), EIO);
  EXPECT_THAT(db.error().hint, HasSubstr("backup"));
}

TEST_F(DatabaseTest, ReadOnlyReadsAndRefusesToWrite) {
  ASSERT_TRUE(insert(*create(), 1));
  const auto db = open(Database::Mode::kReadOnly);
  EXPECT_EQ(count(*db), 1);
  EXPECT_EQ(insert(*db, 2).err(), EROFS);
  EXPECT_EQ(db->sync().err(), 0);
}

// A copy of the files while the database is open: what a kill leaves.
TEST_F(DatabaseTest, ReadOnlyAfterACrashSeesWhatWasCommittedAndChangesNothing) {
  const auto db = create();
  ASSERT_TRUE(insert(*db, 1));
  TemporaryDirectory killed;
  killed.copy_files_from(dir_.path());
  const std::string before = killed.read("pool.db") + killed.read("pool.db-wal");
  ASSERT_FALSE(killed.read("pool.db-wal").empty());
  {
    const auto copy = Database::open(killed.path() + "/pool.db", Database::Mode::kReadOnly);
    ASSERT_TRUE(copy) << copy.error().describe();
    EXPECT_EQ(count(**copy), 1);
  }
  EXPECT_EQ(killed.read("pool.db") + killed.read("pool.db-wal"), before);
}

TEST_F(DatabaseTest, ACommitIsInTheWalBeforeItReturns) {
  const auto db = create();
  for (int64_t key = 1; key < 50; ++key) {
    ASSERT_TRUE(insert(*db, key));
    TemporaryDirectory killed;
    killed.copy_files_from(dir_.path());
    const auto copy = Database::open(killed.path() + "/pool.db", Database::Mode::kReadWrite);
    ASSERT_TRUE(copy) << copy.error().describe();
    EXPECT_EQ(count(**copy), key);
  }
}

// The WAL is copied into the database by sync(), and by a commit if nobody calls that.
TEST_F(DatabaseTest, TheWalStaysSmallWithAndWithoutSync) {
  const auto db = create();
  const std::string value(100 * 4096, 'x');
  for (int64_t key = 0; key < 200; ++key) {
    ASSERT_TRUE(insert(*db, key, value));
    ASSERT_TRUE(db->sync());
  }
  const auto with_sync = std::filesystem::file_size(path_ + "-wal");
  EXPECT_LT(with_sync, 1300 * 4200);
  for (int64_t key = 200; key < 500; ++key) ASSERT_TRUE(insert(*db, key, value));
  EXPECT_LT(std::filesystem::file_size(path_ + "-wal"), 8300 * 4200);
  EXPECT_EQ(count(*db), 500);
}

TEST_F(DatabaseTest, ThreadsThatCommitAndSyncLoseNothing) {
  const auto db = create();
  std::vector<std::thread> threads;
  for (int64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&db, thread] {
      for (int64_t i = 0; i < 100; ++i) {
        EXPECT_EQ(insert(*db, thread * 1000 + i, std::string(20000, 'x')).err(), 0);
        EXPECT_EQ(db->sync().err(), 0);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(count(*db), 400);
}

// The host has told once that it lost something; its next fsync would be good again.
TEST_F(DatabaseTest, ASyncThatFailedMakesAllLaterOnesFail) {
  const auto db = create();
  ASSERT_TRUE(insert(*db, 1));
  const bool possible = run_with_failing_call(SYS_fdatasync, ENOSPC, [&] {
    const auto synced = db->sync();
    EXPECT_EQ(synced.err(), ENOSPC);
    EXPECT_THAT(synced.error().message, HasSubstr(path_));
  });
  if (!possible) GTEST_SKIP() << "system calls can't be made to fail here";
  EXPECT_EQ(db->sync().err(), ENOSPC);
  EXPECT_EQ(insert(*db, 2).err(), 0);
  EXPECT_EQ(db->sync().err(), ENOSPC);
  EXPECT_EQ(count(*db), 2);
}

TEST_F(DatabaseTest, ACheckpointThatFailedMakesLaterSyncsFailAndKeepsTheWal) {
  auto db = create();
  const bool possible = run_with_failing_call(SYS_pwrite64, EIO, [] {});
  if (!possible) GTEST_SKIP() << "system calls can't be made to fail here";
  ASSERT_TRUE(insert(*db, 1, std::string(4096 * 1100, 'x')));
  // The WAL's fsync is good, the copy into the database is not.
  run_with_failing_call(SYS_pwrite64, EIO, [&] { EXPECT_EQ(db->sync().err(), 0); });
  EXPECT_EQ(db->sync().err(), EIO);
  db.reset();
  EXPECT_TRUE(std::filesystem::exists(path_ + "-wal"));
  EXPECT_EQ(count(*open(Database::Mode::kReadWrite)), 1);
}

}  // namespace
}  // namespace pmemd
