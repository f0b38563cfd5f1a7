// A campaign: a damaged pool (tests/stress/damaged_pool_test.cc), through a daemon and its mount.
//
// A pool (tests/stress/support/mount_pools.h) is copied, as a stop or a SIGKILL left it, and
// damaged. Then `pmemd --check` says what it finds, and a daemon is started on it. It refuses with
// an error that names object, cause and a way on, or serves; then verbs, and programs in its mount,
// look at all, change it, and remove it (tests/stress/support/mount_session.h). All ends in time,
// nothing crashes, no wrong byte is served as right (tests/stress/support/pool_oracle.h), and the
// daemon ends in order.
//
// PMEMD_DAMAGES: how many of each kind (6). PMEMD_DAMAGE_SEED: the first seed.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "tests/integration/support/harness.h"
#include "tests/stress/support/damage.h"
#include "tests/stress/support/mount_pools.h"
#include "tests/stress/support/mount_session.h"
#include "tests/stress/support/pool_oracle.h"

namespace pmemd {
namespace {

constexpr std::chrono::seconds kSessionDeadline{60};

// What was wrong once: refused, and neither said whose extents it was, nor a way on.
constexpr std::array kFound = {
    // Two files, the same bytes.
    "UPDATE extents SET data_offset = (SELECT min(data_offset) FROM extents) WHERE file_offset = 0",
    // A value that its column doesn't accept.
    "UPDATE extents SET length = length + 1 WHERE file_offset = 0",
};

// As a kill leaves it, whatever is changed: SQLite keeps the WAL while somebody has it open.
class KeptWal {
 public:
  explicit KeptWal(std::string directory) : directory_(std::move(directory)) {
    sqlite3_open_v2((directory_ + "/pool.db").c_str(), &db_, SQLITE_OPEN_READWRITE, nullptr);
    sqlite3_exec(db_, "SELECT count(*) FROM meta", nullptr, nullptr, nullptr);
  }
  ~KeptWal() {
    const std::string kept = directory_ + "/kept";
    std::error_code ignored;
    std::filesystem::create_directory(kept, ignored);
    for (const char* const name : {"/pool.db", "/pool.db-wal"}) {
      std::filesystem::copy_file(directory_ + name, kept + name, ignored);
    }
    sqlite3_close(db_);
    for (const char* const name : {"/pool.db", "/pool.db-wal"}) {
      std::filesystem::rename(kept + name, directory_ + name, ignored);
    }
    std::filesystem::remove_all(kept, ignored);
    std::filesystem::remove(directory_ + "/pool.db-shm", ignored);
  }
  KeptWal(const KeptWal&) = delete;
  KeptWal& operator=(const KeptWal&) = delete;

 private:
  const std::string directory_;
  sqlite3* db_ = nullptr;
};

class DamagedMount : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped() && !pools_) pools_ = std::make_unique<MountPools>();
  }

  static void TearDownTestSuite() { pools_.reset(); }

  static uint64_t from_environment(const char* name, uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
  }

  // What `check` says without a daemon; an end that it mustn't have is wrong.
  Output check(std::string& wrong) const {
    Output output = run({program("pmemd"), "--check", "--pool", directory_});
    const bool is_told = output.code == 0 || !(output.out + output.err).empty();
    if ((output.code != 0 && output.code != 1) || !is_told) {
      wrong += fmt::format("check ends with {}: {}{}\n", output.code, output.out, output.err);
    }
    return output;
  }

  // What is wrong with how a pool in directory_ is served.
  std::string serve(bool is_killed, bool is_of_extents = false) {
    const std::string copy = directory_ + ".truth";
    copy_pool(directory_, copy);
    Expected expected{.before = pools_->before(is_killed),
                      .tables = read_truth(copy + "/pool.db", copy)};
    std::filesystem::remove_all(copy);
    std::string wrong;
    const Output checked = check(wrong);
    expected.is_well = checked.code == 0;
    // Some values are what they were. Of what wasn't stopped no checksum is known.
    if (is_of_extents && !is_killed && expected.tables != expected.before) {
      if (expected.is_well) wrong += "check is content with other extents\n";
      expected.tables.clear();
    }
    const auto refused = daemon_.try_start({.create = "", .pool = directory_});
    if (refused) return wrong + judge_refusal(*refused, expected.is_well);
    ++served_;
    const uint64_t seed = seed_;
    wrong += as_user(
        0,
        [&]() -> std::string {
          const SessionOptions options{.daemon = daemon_,
                                       .pool = directory_,
                                       .expected = expected,
                                       .modes = pools_->modes(),
                                       .seed = seed};
          try {
            return MountSession(options).run();
          } catch (const std::exception& error) {
            return std::string(error.what()) + "\n";
          }
        },
        kSessionDeadline);
    wrong += stop(expected.is_well);
    const Output after = check(wrong);
    if (expected.is_well && after.code != 0) {
      wrong += "check was content, and then: " + after.out + after.err;
    }
    return wrong;
  }

  std::string judge_refusal(const Output& refused, bool is_well) const {
    std::string wrong;
    const std::string& told = refused.err;
    if (refused.code != 1) wrong += fmt::format("the start ends with {}\n", refused.code);
    if (is_well) wrong += "check is content, but the daemon refuses\n";
    const bool is_named = told.find("error: ") != told.npos && told.find(": ") != told.npos &&
                          told.find(" (") != told.npos && told.find("Sanitizer") == told.npos;
    if (!is_named) wrong += "the error names no object, cause, or way on\n";
    if (is_mount_point(daemon_.mount())) wrong += "refused, but mounted\n";
    return wrong.empty() ? wrong : wrong + told;
  }

  // A device that can't be released in order says so.
  std::string stop(bool is_well) {
    daemon_.daemon().signal(SIGTERM);
    const int code = daemon_.daemon().wait();
    std::string wrong;
    const std::string log = daemon_.log();
    const bool is_told =
        !is_well && (log.find("error: ") != log.npos || log.find("critical: ") != log.npos);
    if (code != 0 && (code != 1 || !is_told)) wrong += fmt::format("it ends with {}\n", code);
    if (log.find("Sanitizer") != log.npos) wrong += "a sanitizer has found something\n";
    if (is_mount_point(daemon_.mount())) wrong += "it has ended, but its mount is there\n";
    return wrong;
  }

  // Whether the damage could be done.
  bool run_damage(DamageKind kind, uint64_t seed) {
    return run_damage_by(kind, seed, kind == DamageKind::kWal || seed % 2 != 0, [&] {
      // A prime, so that few damages are of all columns and values.
      return damage(directory_, kind, seed * 7919 % value_damages(), seed);
    });
  }
  bool run_sql(const char* sql, bool is_killed) {
    return run_damage_by(DamageKind::kValue, 1, is_killed, [&]() -> std::optional<std::string> {
      sqlite3* db = nullptr;
      sqlite3_open_v2((directory_ + "/pool.db").c_str(), &db, SQLITE_OPEN_READWRITE, nullptr);
      const bool is_done = sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK;
      sqlite3_close(db);
      return is_done ? std::optional<std::string>(sql) : std::nullopt;
    });
  }

  template <class Damage>
  bool run_damage_by(DamageKind kind, uint64_t seed, bool is_killed, Damage damage_it) {
    seed_ = seed;
    directory_ = fmt::format("{}/{}", daemon_.directory(), seed);
    copy_pool(pools_->directory(is_killed), directory_);
    std::optional<std::string> what;
    {
      std::optional<KeptWal> kept;
      if (is_killed && kind <= DamageKind::kRow) kept.emplace(directory_);
      what = damage_it();
    }
    if (what) {
      std::string wrong;
      std::error_code ignored;
      std::filesystem::remove(daemon_.directory() + "/daemon.log", ignored);
      try {
        wrong = serve(is_killed, is_of_extents(kind, *what));
      } catch (const std::exception& error) {
        wrong = error.what();
      }
      end_daemon(wrong);
      EXPECT_EQ(wrong, "") << "PMEMD_DAMAGE_SEED=" << seed << " PMEMD_DAMAGES=1: " << *what
                           << (is_killed ? " (killed)" : " (stopped)") << "\n"
                           << daemon_.log();
    }
    std::filesystem::remove_all(directory_);
    return what.has_value();
  }

  // After what threw, too.
  void end_daemon(std::string& wrong) {
    if (daemon_.is_running()) daemon_.kill9();
    for (int tries = 0; is_mount_point(daemon_.mount()) && tries < 4; ++tries) {
      if (umount2(daemon_.mount().c_str(), MNT_DETACH) != 0) wrong += "can't be unmounted\n";
    }
  }

  static std::unique_ptr<MountPools> pools_;

  TestPool daemon_{Storage::kMemory};
  std::string directory_;  // of the damaged pool
  uint64_t seed_ = 0;
  uint64_t served_ = 0;
};

std::unique_ptr<MountPools> DamagedMount::pools_;

TEST_F(DamagedMount, Undamaged) {
  for (const bool is_killed : {false, true}) {
    seed_ = is_killed ? 1 : 2;
    directory_ = fmt::format("{}/{}", daemon_.directory(), seed_);
    copy_pool(pools_->directory(is_killed), directory_);
    std::string wrong = serve(is_killed);
    end_daemon(wrong);
    EXPECT_EQ(wrong, "");
    EXPECT_EQ(served_, is_killed ? 2U : 1U);
  }
}

TEST_F(DamagedMount, WhatWasWrongOnce) {
  for (const char* const sql : kFound) {
    for (const bool is_killed : {false, true}) EXPECT_TRUE(run_sql(sql, is_killed)) << sql;
  }
}

class DamagedMountOfKind : public DamagedMount, public testing::WithParamInterface<DamageKind> {};

TEST_P(DamagedMountOfKind, IsRefusedOrServedRight) {
  const DamageKind kind = GetParam();
  const uint64_t count =
      from_environment("PMEMD_DAMAGES", 6) * (kind == DamageKind::kValue ? 3 : 1);
  const uint64_t first = from_environment("PMEMD_DAMAGE_SEED", 1);
  uint64_t done = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) done += run_damage(kind, seed) ? 1 : 0;
  std::printf("seeds %lu to %lu: %lu damages, %lu were served\n", first, first + count - 1, done,
              served_);
  EXPECT_GE(done, count == 1 ? 0 : count / 4);
}

INSTANTIATE_TEST_SUITE_P(OfEachKind, DamagedMountOfKind, testing::ValuesIn(kDamageKinds),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

}  // namespace
}  // namespace pmemd
